// A run of irregular levels in one call: rows one after another, each updated as soon as its sum is there. One or two channels;
// more are a library of their own (sweep_wide.cpp), which is compiled when it is first asked for: two thirds of all the
// compiler's time are this loop's.

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "sweep.h"

namespace {

// The samples from b on, V vectors of them; parts[0] are the synapses between the rows. `bands`: for every level those of each part,
// or empty. `memory`: [(neurons + 2) * channels * V * lanes]. A row is summed and updated in one go: the arithmetic of one then fills
// the time in which the next waits for the memory. Where the senders of a level are cut into bands, all its rows take what they have
// of a band before the next, and their sums wait where what they send will stand.
// `kPlain`: there is neither inner nor gain nor shift, and only states are wanted; what a loop does not do costs it no registers.
template <typename T, int V, int K, bool kWhole, bool kPlain>
void sweep_block(const Sweep<T>& job, const std::vector<Part<T>>& parts, const LevelBands& bands, int64_t b, T* memory) {
  typedef typename Vector<T>::type Vec;
  constexpr int lanes = Vector<T>::lanes;
  const int64_t k = K ? K : job.channels;
  const Samples<T, V, kWhole> some{b, job.batch, job.neurons * job.batch, kWhole && job.stream};
  T* const packed = memory + 2 * k * V * lanes;
  Vec local[K ? 2 * K * V : 1];
  Vec* const first = K ? local : reinterpret_cast<Vec*>(memory);

  struct Visit {  // of all rows of a level: one band of one part, or all parts at once
    size_t part = 0;
    int64_t band = 0;
    Bands bands{};
  };
  std::vector<Visit> visits(1, Visit{});
  std::vector<int32_t> done;  // of each row of a level, the end of the synapses that are summed

  auto begin = [&](int64_t row, Vec* u) {
    for (int64_t c = 0; c < k; ++c) {
      const T* from = job.start + (c * job.neurons + row) * job.start_batch;
      for (int v = 0; v < V; ++v) u[c * V + v] = !job.start ? Vec{} : job.start_batch == 1 ? Vec{} + *from : some.read(from + b, v);
    }
  };
  auto finish = [&](int64_t row, Vec* u) {
    if (const int64_t next = row + kAhead; next < job.neurons) {
      some.ask(job.offset, k, next);
      if (!kPlain) some.ask(job.gain, k, next), some.ask(job.shift, k, next);
    }
    auto each = [&](auto act) {
      for (int64_t c = 0; c < k; ++c)
        for (int v = 0; v < V; ++v) act(c * V + v, some.at(c, row), v);
    };
    Vec* other = u + k * V;
    if (!kPlain && job.inflows) each([&](int64_t i, int64_t at, int v) { some.write(job.inflows + at, v, u[i]); });
    if (!kPlain && job.inner) mix<T, K, V>(job.inner, u, other, k), std::swap(u, other);
    each([&](int64_t i, int64_t at, int v) {
      u[i] *= job.gate;
      if (!kPlain && job.gain) u[i] *= some.read(job.gain + at, v);
      if (job.offset) u[i] += job.keep * some.read(job.offset + at, v);
    });
    activate<K * V>(job.activation, u, k * V);
    each([&](int64_t i, int64_t at, int v) { some.write(job.states + at, v, u[i]); });
    if (job.outer) mix<T, K, V>(job.outer, u, other, k), std::swap(u, other);
    if (!kPlain && job.shift) each([&](int64_t i, int64_t at, int v) { u[i] += some.read(job.shift + at, v); });
    for (int64_t i = 0; i < k * V; ++i) store(packed + (row * k * V + i) * lanes, u[i]);
    if (!kPlain && job.signals) each([&](int64_t i, int64_t at, int v) { some.write(job.signals + at, v, u[i]); });
  };

  for (int64_t i = 0; i < job.levels; ++i) {
    const int64_t level = job.descending ? job.levels - 1 - i : i, from = job.bounds[level], to = job.bounds[level + 1];
    const bool far = !bands.empty() && bands[level][0].far;
    if (!bands.empty()) {
      visits.clear();
      for (size_t p = 0; p < parts.size(); ++p)
        for (int64_t band = 0; band < bands[level][p].count; ++band) visits.push_back({p, band, bands[level][p]});
      if (visits.size() == parts.size()) visits.assign(1, Visit{});
    }
    for (const Visit& visit : visits) {
      const Part<T>& part = parts[visit.part];
      if (visits.size() > 1 && visit.band == 0) done.assign(part.table.begin + from, part.table.begin + to);
      for (int64_t row = from; row < to; ++row) {
        T* const waits = packed + row * k * V * lanes;
        if (&visit == &visits.front()) begin(row, first);
        else for (int64_t i = 0; i < k * V; ++i) first[i] = load(waits + i * lanes);
        if (visits.size() > 1) {
          int32_t& e = done[row - from];
          if (row + kAhead < to) fetch_synapses(part.table, done[row - from + kAhead], part.values, part.values + (k - 1) * part.step);
          const int64_t last = visit.bands.end(part.table, row, e, visit.band);
          add_channels<T, K, V>(part, k, e, last, false, first);
          e = int32_t(last);
        } else {
          for (size_t p = 0; p < parts.size(); ++p)
            add_channels<T, K, V>(parts[p], k, parts[p].table.begin[row], parts[p].table.begin[row + 1], far && p == 0, first);
        }
        if (&visit == &visits.back()) finish(row, first);
        else for (int64_t i = 0; i < k * V; ++i) store(waits + i * lanes, first[i]);
      }
    }
  }
  if (some.stream) finish_past();
}

// Vectors of samples that a sweep of K channels (0: any number) takes at once: 256 bytes of a channel, as long as the sums of a row
// stay in registers. Fewer: indices and synapses are read again more often. More: the states of a block leave the cache.
template <typename T, int K>
constexpr int block_vectors() {
  constexpr int most = 256 / kBytes, room = kRegisters / 2 / (K ? K : 4);
  return most < room ? most : room < 1 ? 1 : room;
}

// run(V, K, bands) for a job; by single vectors where blocks are too few for the workers, and by half as many as usual where the
// senders of most rows neither fit the cache nor are cut into bands: of half as many bytes each, rather more of them fit.
template <typename T, typename Run>
void by_block(const Call<T>& call, const Sweep<T>& job, Run run) {
  auto take = [&](auto k) {
    constexpr int vectors = block_vectors<T, decltype(k)::value>();
    constexpr int half = vectors > 1 && decltype(k)::value == 2 ? vectors / 2 : vectors;  // of two states, the usual number, alone
    constexpr int64_t width = vectors * Vector<T>::lanes;
    const LevelBands bands = level_bands(call, job, width);
    int64_t far = 0;
    for (size_t level = 0; level < bands.size(); ++level)
      if (bands[level][0].far) far += job.bounds[level + 1] - job.bounds[level];
    if (vectors == 1 || job.batch < workers(call.pool) * width) run(std::integral_constant<int, 1>{}, k, bands);
    else if (2 * far > job.neurons) run(std::integral_constant<int, half>{}, k, bands);
    else run(std::integral_constant<int, vectors>{}, k, bands);
  };
#ifdef NEUROGRAPH_WIDE
  if (job.channels == 3) take(std::integral_constant<int, 3>{});
  else if (job.channels == 4) take(std::integral_constant<int, 4>{});
  else take(std::integral_constant<int, 0>{});
#else
  if (job.channels == 1) take(std::integral_constant<int, 1>{});
  else take(std::integral_constant<int, 2>{});
#endif
}

template <typename T>
void sweep(const Call<T>& call, Sweep<T>& job) {
  by_block<T>(call, job, [&](auto vectors, auto known, const LevelBands& bands) {
    constexpr int K = decltype(known)::value;
    auto run = [&](auto some, auto whole, std::vector<Part<T>>& parts, int64_t b, T* memory, int64_t) {
      constexpr int V = decltype(some)::value, width = V * Vector<T>::lanes;
      constexpr bool kWhole = decltype(whole)::value;
      parts[0].signal = {memory + 2 * job.channels * width, job.channels * width, width};
      const bool plain = !job.inner && !job.gain && !job.shift && !job.signals && !job.inflows;
      if (kWhole && plain) sweep_block<T, V, K, kWhole, kWhole>(job, parts, bands, b, memory);
      else sweep_block<T, V, K, kWhole, false>(job, parts, bands, b, memory);
    };
    over_blocks<T, decltype(vectors)::value>(call, job, job.channels * (job.neurons + 2), run, [](int64_t, int64_t) {});
  });
}

ffi::Error SweepRows(ffi::ThreadPool pool, ffi::AnyBuffer bounds, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots, ffi::AnyBuffer values,
                     ffi::AnyBuffer gates, ffi::AnyBuffer start, ffi::AnyBuffer inner, ffi::AnyBuffer outer, ffi::AnyBuffer offset,
                     ffi::AnyBuffer gain, ffi::AnyBuffer shift, ffi::RemainingArgs others, ffi::Result<ffi::AnyBuffer> states,
                     ffi::Result<ffi::AnyBuffer> signals, ffi::Result<ffi::AnyBuffer> inflows, int64_t activation, int64_t against) {
  return checked(states->element_type(), [&] {
    Sweep<Number> job{};
    job.channels = dim(*states, 3), job.neurons = dim(*states, 2), job.batch = dim(*states, 1), job.start_batch = dim(start, 1);
    job.activation = activation, job.descending = against, job.bounds = ints(bounds), job.levels = dim(bounds, 1) - 1;
    sweep<Number>({pool, others, table_of(begin, sources, slots), values,
              {{&job.start, start}, {&job.inner, inner}, {&job.outer, outer}, {&job.offset, offset}, {&job.gain, gain}, {&job.shift, shift}},
              {{&job.states, *states}, {&job.signals, *signals}, {&job.inflows, *inflows}}, gates}, job);
  });
}

}  // namespace

#ifndef NEUROGRAPH_WIDE
#define NEUROGRAPH_SWEEP neurograph_sweep
#endif
XLA_FFI_DEFINE_HANDLER_SYMBOL(NEUROGRAPH_SWEEP, SweepRows, binding<12>()
                                  .RemainingArgs()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("activation")
                                  .Attr<int64_t>("against"));
