// A run of irregular levels in one call: rows one after another, each updated as soon as its sum is there.

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "sweep.h"

namespace {

// The samples from b on, V vectors of them; parts[0] are the synapses between the rows. `memory`: [(neurons + 2) * channels * V *
// lanes]. A row is summed and updated in one go: the arithmetic of one then fills the time in which the next waits for the memory.
// `kPlain`: there is neither inner nor gain nor shift, and only states are wanted; what a loop does not do costs it no registers.
template <typename T, int V, int K, bool kWhole, bool kPlain>
void sweep_block(const Sweep<T>& job, const std::vector<Part<T>>& parts, int64_t b, T* memory) {
  typedef typename Vector<T>::type Vec;
  constexpr int lanes = Vector<T>::lanes;
  const int64_t k = K ? K : job.channels;
  const Samples<T, V, kWhole> some{b, job.batch, job.neurons * job.batch, kWhole && job.stream};
  T* const packed = memory + 2 * k * V * lanes;
  // Tiles may descend, but rows ascend, as the tables do: numbers that are read in order come by themselves.
  for (int64_t i = 0, tile = job.descending ? job.tiles - 1 : 0, row = job.bounds[tile]; i < job.neurons; ++i) {
    if (const int64_t next = row + kAhead; next < job.neurons) {
      some.ask(job.offset, k, next);
      if (!kPlain) some.ask(job.gain, k, next), some.ask(job.shift, k, next);
    }
    auto each = [&](auto act) {
      for (int64_t c = 0; c < k; ++c)
        for (int v = 0; v < V; ++v) act(c * V + v, some.at(c, row), v);
    };
    Vec local[K ? 2 * K * V : 1];
    Vec *u = K ? local : reinterpret_cast<Vec*>(memory), *other = u + k * V;
    for (int64_t c = 0; c < k; ++c) {
      const T* from = job.start + (c * job.neurons + row) * job.start_batch;
      for (int v = 0; v < V; ++v) u[c * V + v] = !job.start ? Vec{} : job.start_batch == 1 ? Vec{} + *from : some.read(from + b, v);
    }
    if constexpr (K > 0) {
      add_parts<T, K, V>(parts, 0, row, u);
    } else {
      int64_t c = 0;
      for (; c + 4 <= k; c += 4) add_parts<T, 4, V>(parts, c, row, u + c * V);
      for (; c < k; ++c) add_parts<T, 1, V>(parts, c, row, u + c * V);
    }
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
    if (++row == job.bounds[tile + 1]) {
      tile += job.descending ? -1 : 1;
      if (tile >= 0) row = job.bounds[tile];
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

// run(V, K) for a job; by single vectors where blocks are too few for the workers.
template <typename T, typename Run>
void by_block(int64_t channels, int64_t batch, int64_t workers, Run run) {
  auto take = [&](auto k) {
    constexpr int vectors = block_vectors<T, decltype(k)::value>();
    if (vectors == 1 || batch < workers * vectors * Vector<T>::lanes) run(std::integral_constant<int, 1>{}, k);
    else run(std::integral_constant<int, vectors>{}, k);
  };
  if (channels == 1) take(std::integral_constant<int, 1>{});
  else if (channels == 2) take(std::integral_constant<int, 2>{});
  else if (channels == 3) take(std::integral_constant<int, 3>{});
  else if (channels == 4) take(std::integral_constant<int, 4>{});
  else take(std::integral_constant<int, 0>{});
}

template <typename T>
void sweep(const Call<T>& call, Sweep<T>& job) {
  by_block<T>(job.channels, job.batch, workers(call.pool), [&](auto vectors, auto known) {
    constexpr int K = decltype(known)::value;
    auto run = [&](auto some, auto whole, std::vector<Part<T>>& parts, int64_t b, T* memory, int64_t) {
      constexpr int V = decltype(some)::value, width = V * Vector<T>::lanes;
      constexpr bool kWhole = decltype(whole)::value;
      parts[0].signal = {memory + 2 * job.channels * width, job.channels * width, width};
      const bool plain = !job.inner && !job.gain && !job.shift && !job.signals && !job.inflows;
      if (kWhole && plain) sweep_block<T, V, K, kWhole, kWhole>(job, parts, b, memory);
      else sweep_block<T, V, K, kWhole, false>(job, parts, b, memory);
    };
    over_blocks<T, decltype(vectors)::value>(call, job, job.channels * (job.neurons + 2), run, [](int64_t, int64_t) {});
  });
}

ffi::Error SweepRows(ffi::ThreadPool pool, ffi::AnyBuffer bounds, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots, ffi::AnyBuffer values,
                     ffi::AnyBuffer gates, ffi::AnyBuffer start, ffi::AnyBuffer inner, ffi::AnyBuffer outer, ffi::AnyBuffer offset,
                     ffi::AnyBuffer gain, ffi::AnyBuffer shift, ffi::RemainingArgs others, ffi::Result<ffi::AnyBuffer> states,
                     ffi::Result<ffi::AnyBuffer> signals, ffi::Result<ffi::AnyBuffer> inflows, int64_t activation, int64_t against) {
  return by_type(states->element_type(), [&](auto zero) {
    Sweep<decltype(zero)> job{};
    job.channels = dim(*states, 3), job.neurons = dim(*states, 2), job.batch = dim(*states, 1), job.start_batch = dim(start, 1);
    job.activation = activation, job.descending = against, job.bounds = ints(bounds), job.tiles = dim(bounds, 1) - 1;
    sweep<decltype(zero)>({pool, others, table_of(begin, sources, slots), values,
                           {{&job.start, start}, {&job.inner, inner}, {&job.outer, outer}, {&job.offset, offset}, {&job.gain, gain}, {&job.shift, shift}},
                           {{&job.states, *states}, {&job.signals, *signals}, {&job.inflows, *inflows}}, gates}, job);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_sweep, SweepRows, binding<12>()
                                  .RemainingArgs()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("activation")
                                  .Attr<int64_t>("against"));
