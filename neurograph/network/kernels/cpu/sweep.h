// What sweeps over the rows of a run of irregular levels share: operands, sums of rows, activations.

#ifndef NEUROGRAPH_SWEEP_H_
#define NEUROGRAPH_SWEEP_H_

#include <algorithm>
#include <cmath>
#include <memory>
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
  int64_t channels, neurons, batch, activation, levels;
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

// Synapses of other rows whose senders the memory is asked for ahead of their turn, where those do not fit the cache.
constexpr int64_t kFetch = 12;

// z of K channels of a row, [K, V], that begin with `to`: += numbers times what the senders send, of synapses e .. last.
template <typename T, int K, int V>
inline void add_synapses(const Part<T>& part, int64_t first_channel, int64_t e, int64_t last, bool far, typename Vector<T>::type* to) {
  constexpr int lanes = Vector<T>::lanes;
  if (e == last) return;
  typename Vector<T>::type total[K * V];
  for (int i = 0; i < K * V; ++i) total[i] = to[i];
  const T* values = part.values + first_channel * part.step;
  const T* signal = part.signal.data + first_channel * part.signal.channel;
  auto run = [&](auto fetching) {
    for (; e < last; ++e) {
      const T* from = signal + part.table.sources[e] * part.signal.row;
      if constexpr (decltype(fetching)::value)
        fetch<T, K * V>(signal + part.table.sources[std::min(e + kFetch, part.table.count - 1)] * part.signal.row);
      for (int c = 0; c < K; ++c)
        for (int v = 0; v < V; ++v) total[c * V + v] += values[c * part.step + e] * load(from + c * part.signal.channel + v * lanes);
    }
  };
  if (far) run(std::true_type{});
  else run(std::false_type{});
  for (int i = 0; i < K * V; ++i) to[i] = total[i];
}

// The same of all k channels of a row (K of them, where that is known).
template <typename T, int K, int V>
inline void add_channels(const Part<T>& part, int64_t k, int64_t e, int64_t last, bool far, typename Vector<T>::type* to) {
  if constexpr (K > 0) {
    add_synapses<T, K, V>(part, 0, e, last, far, to);
  } else {
    int64_t c = 0;
    for (; c + 4 <= k; c += 4) add_synapses<T, 4, V>(part, c, e, last, far, to + c * V);
    for (; c < k; ++c) add_synapses<T, 1, V>(part, c, e, last, far, to + c * V);
  }
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

// For every level the bands of each part, the synapses between the rows first, whose rows are in blocks of `width` samples; or
// nothing where what all neurons send fits the cache.
typedef std::vector<std::vector<Bands>> LevelBands;

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

// The numbers [channels, synapses] of a table in order of its rows: every block of samples reads them again.
template <typename T>
std::unique_ptr<T[]> in_order(ffi::ThreadPool pool, const Table& table, const T* numbers, int64_t channels) {
  std::unique_ptr<T[]> out(new T[channels * table.count]);
  constexpr int64_t piece = 1 << 15;
  const int64_t pieces = (table.count + piece - 1) / piece;
  T* const to = out.get();
  share(pool, channels * pieces, [&](int64_t i, int64_t) {
    const int64_t shift = i / pieces * table.count, first = i % pieces * piece, last = std::min(first + piece, table.count);
    for (int64_t e = first; e < last; ++e) to[shift + e] = numbers[shift + table.slots[e]];
  });
  return out;
}

bool aligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % kBytes == 0; }

// What a call has beside its Sweep: operands and results, which may have no elements, and where to point to them; [keep, gate].
// `others`: for each further set of synapses that arrive at the rows its table, numbers and signal.
template <typename T>
struct Call {
  ffi::ThreadPool pool;
  const ffi::RemainingArgs& others;
  Table table;
  ffi::AnyBuffer values;
  std::vector<std::pair<const T**, ffi::AnyBuffer>> given;
  std::vector<std::pair<T**, ffi::AnyBuffer>> made;
  ffi::AnyBuffer gates;

  // Of each of the `others`: begin, sources, slots, values and signal.
  size_t count() const { return others.size() / 5; }
  ffi::AnyBuffer other(size_t i, size_t which) const { return *others.template get<ffi::AnyBuffer>(5 * i + which); }
  Table other_table(size_t i) const { return table_of(other(i, 0), other(i, 1), other(i, 2)); }
};

template <typename T>
LevelBands level_bands(const Call<T>& call, const Sweep<T>& job, int64_t width) {
  LevelBands out;
  if (job.channels * job.neurons * width * int64_t(sizeof(T)) <= near_bytes()) return out;
  for (int64_t level = 0; level < job.levels; ++level) {
    auto add = [&](const Table& table, int64_t channels) {
      out[level].push_back(bands_of(table, job.bounds[level], job.bounds[level + 1], channels * width * sizeof(T)));
    };
    out.emplace_back();
    add(call.table, job.channels);
    for (size_t i = 0; i < call.count(); ++i) add(call.other_table(i), dim(call.other(i, 4), 3));
  }
  return out;
}

// run(vectors, whole, parts, b, memory, block) for every block of samples of every replica: blocks of V vectors, and single vectors
// where the batch is no multiple of that. `memory` holds `own` numbers of every sample. end(replica, blocks) after each replica.
template <typename T, int V, typename Run, typename End>
void over_blocks(const Call<T>& call, Sweep<T>& job, int64_t own, Run run, End end) {
  constexpr int64_t lanes = Vector<T>::lanes, width = V * lanes;
  const auto dims = call.made[0].second.dimensions();
  const auto lead = dims.first(dims.size() - 3);
  const int64_t size = job.channels * job.neurons * job.batch;
  int64_t held = own;
  for (size_t i = 0; i < call.count(); ++i) held += dim(call.other(i, 4), 2) * dim(call.other(i, 4), 3);
  Scratch<T> scratch(workers(call.pool), held * width);
  for (int64_t replica = 0, replicas = product_of(lead); replica < replicas; ++replica) {
    std::vector<Part<T>> parts;
    std::vector<std::unique_ptr<T[]>> sorted;
    auto add = [&](const Table& table, const ffi::AnyBuffer& values) {
      const T* numbers = data_of<T>(values) + Leading(values, 2, lead).offset(replica);
      if (table.slots) sorted.push_back(in_order(call.pool, table, numbers, dim(values, 2))), numbers = sorted.back().get();
      parts.push_back({table, numbers, dim(values, 2) == 1 ? 0 : table.count, {}});
    };
    add(call.table, call.values);
    for (size_t i = 0; i < call.count(); ++i) add(call.other_table(i), call.other(i, 3));
    for (const auto& [to, buffer] : call.given) {
      const size_t rank = buffer.dimensions().size() - lead.size();
      *to = data_of<T>(buffer) ? data_of<T>(buffer) + Leading(buffer, rank, lead).offset(replica) : nullptr;
    }
    const T* scalars = data_of<T>(call.gates) + Leading(call.gates, 1, lead).offset(replica);
    job.keep = scalars[0], job.gate = scalars[1];
    job.stream = size * int64_t(sizeof(T)) > kCached && job.batch % lanes == 0;
    for (const auto& [to, buffer] : call.made) {
      ffi::AnyBuffer made = buffer;
      *to = made.element_count() ? static_cast<T*>(made.untyped_data()) + replica * size : nullptr;
      job.stream = job.stream && aligned(*to);
    }
    auto take = [&](auto vectors, auto whole, int64_t b, int64_t block, T* memory) {
      constexpr int64_t width = decltype(vectors)::value * lanes;
      auto mine = parts;
      T* at = memory + own * width;
      for (size_t i = 0; i < call.count(); ++i) {
        const ffi::AnyBuffer signal = call.other(i, 4);
        const int64_t senders = dim(signal, 2), k = dim(signal, 3);
        const T* from = data_of<T>(signal) + Leading(signal, 3, lead).offset(replica);
        pack<T, decltype(vectors)::value>(from, k, senders, job.batch, b, at);
        mine[i + 1].signal = {at, k * width, k == 1 ? 0 : width};
        at += senders * k * width;
      }
      run(vectors, whole, mine, b, memory, block);
    };
    const int64_t blocks = V == 1 ? 0 : job.batch / width, singles = (job.batch - blocks * width + lanes - 1) / lanes;
    share(call.pool, blocks + singles, [&](int64_t block, int64_t worker) {
      T* const memory = scratch.of(worker);
      if (block < blocks) take(std::integral_constant<int, V>{}, std::true_type{}, block * width, block, memory);
      else take(std::integral_constant<int, 1>{}, std::false_type{}, blocks * width + (block - blocks) * lanes, block, memory);
    });
    end(replica, blocks + singles);
  }
}

}  // namespace

#endif
