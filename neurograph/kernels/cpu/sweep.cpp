// A run of irregular levels in one call: rows one after another, each updated as soon as its sum is there.

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include "calls.h"
#include "vectors.h"

namespace {

// An array of neurons, channels and (contiguous) samples: where an element stands.
template <typename T>
struct View {
  T* data;
  int64_t row, channel;
};

// Synapses that arrive at the rows of a table, with their numbers (in order of rows, channel after channel at `step`) and what the
// senders send.
template <typename T>
struct Part {
  Table table;
  const T* values;
  int64_t step;
  View<const T> signal;
};

enum Activation : int64_t { kIdentity, kRelu, kTanh, kReluTanh };

// z = start + sums; u = keep * offset + gate * gain * (inner z); state = activation(u); signal = outer state + shift. What is null
// drops out. Matrices are [channels, channels], the rest [channels, neurons, batch]; `stream`: results are too large for the caches.
template <typename T>
struct Sweep {
  int64_t channels, neurons, batch, activation, tiles;
  const int32_t* bounds;
  bool descending, stream;
  T keep, gate;
  const T *start, *inner, *outer, *offset, *gain, *shift;
  int64_t start_batch;
  T *states, *signals, *inflows;
};

// -- one row: K channels (0: as many as the job has) and V vectors of samples, in registers where K is known ---------------------

// The rational approximation that XLA and Eigen use.
__attribute__((always_inline)) inline Vector<float>::type tanh_of(Vector<float>::type x) {
  typedef Vector<float>::type Vec;
  const Vec top = Vec{} + 7.90531110763549805f;
  const Vec at = x > top ? top : x < -top ? -top : x;  // keeps NaN
  const Vec square = at * at;
  Vec p = square * -2.76076847742355e-16f + 2.00018790482477e-13f;
  p = p * square + -8.60467152213735e-11f;
  p = p * square + 5.12229709037114e-08f;
  p = p * square + 1.48572235717979e-05f;
  p = p * square + 6.37261928875436e-04f;
  p = p * square + 4.89352455891786e-03f;
  Vec q = square * 1.19825839466702e-06f + 1.18534705686654e-04f;
  q = q * square + 2.26843463243900e-03f;
  q = q * square + 4.89352518554385e-03f;
  return square < Vec{} + 1.6e-7f ? x : at * p / q;
}

inline Vector<double>::type tanh_of(Vector<double>::type x) {
  for (int i = 0; i < Vector<double>::lanes; ++i) x[i] = std::tanh(x[i]);
  return x;
}

// Samples b .. b + V vectors of arrays [channels, neurons, batch]; not all of them exist unless `kWhole`.
template <typename T, int V, bool kWhole>
struct Samples {
  typedef typename Vector<T>::type Vec;
  static constexpr int lanes = Vector<T>::lanes;
  int64_t b, batch, plane;
  bool stream;
  int64_t at(int64_t channel, int64_t row) const { return channel * plane + row * batch + b; }
  Vec read(const T* from, int v) const {
    return kWhole ? load(from + v * lanes) : load_some(from + v * lanes, batch - b - v * lanes);
  }
  void write(T* to, int v, Vec value) const {
    if (!kWhole) store_some(to + v * lanes, value, batch - b - v * lanes);
    else if (stream) store_past(to + v * lanes, value);
    else store(to + v * lanes, value);
  }
  void ask(const T* array, int64_t channels, int64_t row) const {
    for (int64_t c = 0; array && c < channels; ++c)
      for (int64_t line = 0; line < V * lanes; line += 64 / sizeof(T)) __builtin_prefetch(array + at(c, row) + line);
  }
};

// z of K channels of a row, [K, V], that begin with `to`: += numbers times what the senders send.
template <typename T, int K, int V>
inline void add_parts(const std::vector<Part<T>>& parts, int64_t first_channel, int64_t row, typename Vector<T>::type* to) {
  constexpr int lanes = Vector<T>::lanes;
  typename Vector<T>::type total[K * V];
  for (int i = 0; i < K * V; ++i) total[i] = to[i];
  for (const Part<T>& part : parts) {
    const T* values = part.values + first_channel * part.step;
    const T* signal = part.signal.data + first_channel * part.signal.channel;
    for (int64_t e = part.table.begin[row]; e < part.table.begin[row + 1]; ++e) {
      const T* from = signal + part.table.sources[e] * part.signal.row;
      for (int c = 0; c < K; ++c)
        for (int v = 0; v < V; ++v) total[c * V + v] += values[c * part.step + e] * load(from + c * part.signal.channel + v * lanes);
    }
  }
  for (int i = 0; i < K * V; ++i) to[i] = total[i];
}

// out[c] = sum over d of matrix[c, d] in[d].
template <typename T, int K, int V>
inline void mix(const T* matrix, const typename Vector<T>::type* in, typename Vector<T>::type* out, int64_t channels) {
  const int64_t k = K ? K : channels;
  for (int64_t c = 0; c < k; ++c)
    for (int v = 0; v < V; ++v) {
      typename Vector<T>::type total = matrix[c * k] * in[v];
      for (int64_t d = 1; d < k; ++d) total += matrix[c * k + d] * in[d * V + v];
      out[c * V + v] = total;
    }
}

template <int kCount, typename Vec>
__attribute__((always_inline)) inline void activate(int64_t activation, Vec* x, int64_t some) {
  const int64_t count = kCount ? kCount : some;
  if (activation == kTanh || activation == kReluTanh)
    for (int64_t i = 0; i < count; ++i) x[i] = tanh_of(x[i]);
  if (activation == kRelu || activation == kReluTanh)
    for (int64_t i = 0; i < count; ++i) x[i] = x[i] < Vec{} ? Vec{} : x[i];
}

// Rows that the memory is asked for ahead of their turn.
constexpr int64_t kAhead = 8;

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

// Samples b .. b + V vectors of [channels, neurons, batch] as [neurons, channels, V vectors]; samples beyond the batch are 0.
template <typename T, int V>
void pack(const T* from, int64_t channels, int64_t neurons, int64_t batch, int64_t b, T* to) {
  constexpr int lanes = Vector<T>::lanes;
  for (int64_t row = 0; row < neurons; ++row)
    for (int64_t c = 0; c < channels; ++c)
      for (int v = 0; v < V; ++v, to += lanes) {
        const T* at = from + (c * neurons + row) * batch + b + v * lanes;
        store(to, b + V * lanes <= batch ? load(at) : load_some(at, batch - b - v * lanes));
      }
}

// Vectors of samples that a sweep of K channels (0: any number) takes at once: 256 bytes of a channel, as long as the sums of a row
// stay in registers. Fewer: indices and synapses are read again more often. More: the states of a block leave the cache.
template <typename T, int K>
constexpr int block_vectors() {
  constexpr int most = 256 / kBytes, room = kRegisters / 2 / (K ? K : 4);
  return most < room ? most : room < 1 ? 1 : room;
}

// The numbers [channels, synapses] of a table in order of its rows: every block of samples reads them again.
template <typename T>
std::vector<T> in_order(ffi::ThreadPool pool, const Table& table, const T* numbers, int64_t channels) {
  std::vector<T> out(channels * table.count);
  constexpr int64_t piece = 1 << 16;
  const int64_t pieces = (table.count + piece - 1) / piece;
  share(pool, channels * pieces, [&](int64_t i, int64_t) {
    const int64_t shift = i / pieces * table.count, first = i % pieces * piece;
    for (int64_t e = first; e < std::min(first + piece, table.count); ++e) {
      __builtin_prefetch(numbers + shift + table.slots[std::min(e + 32, table.count - 1)]);
      out[shift + e] = numbers[shift + table.slots[e]];
    }
  });
  return out;
}

bool aligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % kBytes == 0; }

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

// See Sweep. `others` holds, for each further set of synapses that arrive at the rows, its table, numbers and signal.
template <typename T>
void sweep(ffi::ThreadPool pool, const ffi::RemainingArgs& others, const Table& table, const ffi::AnyBuffer& values,
           Sweep<T>& job, const std::vector<std::pair<const T**, ffi::AnyBuffer>>& given, const ffi::AnyBuffer& gates,
           ffi::AnyBuffer states, ffi::AnyBuffer signals, ffi::AnyBuffer inflows) {
  constexpr int64_t lanes = Vector<T>::lanes;
  const auto dims = states.dimensions();
  const auto lead = dims.first(dims.size() - 3);
  job.channels = dim(states, 3), job.neurons = dim(states, 2), job.batch = dim(states, 1);
  const int64_t whole = job.channels * job.neurons * job.batch;
  struct Other {
    Table table;
    ffi::AnyBuffer values, signal;
  };
  std::vector<Other> more;
  const int64_t own = job.channels * (job.neurons + 2);
  int64_t held = own;  // numbers of every sample that a block keeps
  for (size_t i = 0; i + 5 <= others.size(); i += 5) {
    auto at = [&](size_t j) { return *others.get<ffi::AnyBuffer>(i + j); };
    more.push_back({table_of(at(0), at(1), at(2)), at(3), at(4)});
    held += dim(at(4), 2) * dim(at(4), 3);
  }
  by_block<T>(job.channels, job.batch, workers(pool), [&](auto vectors, auto known) {
    constexpr int V = decltype(vectors)::value, K = decltype(known)::value, width = V * lanes;
    Scratch<T> scratch(workers(pool), held * width);
    for (int64_t replica = 0, replicas = product_of(lead); replica < replicas; ++replica) {
      std::vector<Part<T>> parts;
      std::vector<std::vector<T>> sorted;
      auto add = [&](const Table& table, const ffi::AnyBuffer& values) {
        const T* numbers = data_of<T>(values) + Leading(values, 2, lead).offset(replica);
        if (table.slots) sorted.push_back(in_order(pool, table, numbers, dim(values, 2))), numbers = sorted.back().data();
        parts.push_back({table, numbers, dim(values, 2) == 1 ? 0 : table.count, {}});
      };
      add(table, values);
      for (const Other& other : more) add(other.table, other.values);
      for (const auto& [to, buffer] : given) {
        const size_t rank = buffer.dimensions().size() - lead.size();
        *to = data_of<T>(buffer) ? data_of<T>(buffer) + Leading(buffer, rank, lead).offset(replica) : nullptr;
      }
      const T* scalars = data_of<T>(gates) + Leading(gates, 1, lead).offset(replica);
      job.keep = scalars[0], job.gate = scalars[1];
      auto out = [&](ffi::AnyBuffer& buffer) {
        return buffer.element_count() ? static_cast<T*>(buffer.untyped_data()) + replica * whole : nullptr;
      };
      job.states = out(states), job.signals = out(signals), job.inflows = out(inflows);
      job.stream = whole * int64_t(sizeof(T)) > kCached && job.batch % lanes == 0 && aligned(job.states) && aligned(job.signals) && aligned(job.inflows);
      const bool plain = !job.inner && !job.gain && !job.shift && !job.signals && !job.inflows;
      auto run = [&](auto vectors, auto whole, int64_t b, T* memory) {
        constexpr int V = decltype(vectors)::value, width = V * lanes;
        auto mine = parts;
        T* at = memory + own * width;
        for (size_t i = 0; i < more.size(); ++i) {
          const int64_t senders = dim(more[i].signal, 2), k = dim(more[i].signal, 3);
          const T* from = data_of<T>(more[i].signal) + Leading(more[i].signal, 3, lead).offset(replica);
          pack<T, V>(from, k, senders, job.batch, b, at);
          mine[i + 1].signal = {at, k * width, k == 1 ? 0 : width};
          at += senders * k * width;
        }
        mine[0].signal = {memory + 2 * job.channels * width, job.channels * width, width};
        constexpr bool kWhole = decltype(whole)::value;
        if (kWhole && plain) sweep_block<T, V, K, kWhole, kWhole>(job, mine, b, memory);
        else sweep_block<T, V, K, kWhole, false>(job, mine, b, memory);
      };
      // As many whole blocks as there are, and the rest by single vectors.
      const int64_t blocks = V == 1 ? 0 : job.batch / width, rest = job.batch - blocks * width;
      share(pool, blocks + (rest + lanes - 1) / lanes, [&](int64_t block, int64_t worker) {
        if (block < blocks) run(vectors, std::true_type{}, block * width, scratch.of(worker));
        else run(std::integral_constant<int, 1>{}, std::false_type{}, blocks * width + (block - blocks) * lanes, scratch.of(worker));
      });
    }
  });
}

ffi::Error SweepRows(ffi::ThreadPool pool, ffi::AnyBuffer bounds, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots, ffi::AnyBuffer values,
                     ffi::AnyBuffer gates, ffi::AnyBuffer start, ffi::AnyBuffer inner, ffi::AnyBuffer outer, ffi::AnyBuffer offset,
                     ffi::AnyBuffer gain, ffi::AnyBuffer shift, ffi::RemainingArgs others, ffi::Result<ffi::AnyBuffer> states,
                     ffi::Result<ffi::AnyBuffer> signals, ffi::Result<ffi::AnyBuffer> inflows, int64_t activation, int64_t against) {
  return by_type(states->element_type(), [&](auto zero) {
    Sweep<decltype(zero)> job{};
    job.activation = activation, job.descending = against, job.bounds = ints(bounds), job.tiles = dim(bounds, 1) - 1, job.start_batch = dim(start, 1);
    sweep<decltype(zero)>(pool, others, table_of(begin, sources, slots), values, job,
                          {{&job.start, start}, {&job.inner, inner}, {&job.outer, outer}, {&job.offset, offset}, {&job.gain, gain}, {&job.shift, shift}},
                          gates, *states, *signals, *inflows);
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
