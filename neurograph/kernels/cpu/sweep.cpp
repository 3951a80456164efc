// A run of irregular levels in one call: rows one after another, each updated as soon as its sum is there.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "calls.h"
#include "vectors.h"

namespace {

// An array of neurons, channels and (contiguous) samples, or of synapses and channels: where an element stands.
template <typename T>
struct View {
  T* data;
  int64_t row, channel;
  View shifted(int64_t channels) const { return {data + channels * channel, row, channel}; }
};

// Synapses that arrive at the rows of a table, with their numbers (channel after channel at `step`) and what the senders send.
template <typename T>
struct Part {
  Table table;
  const T* values;
  int64_t step;
  View<const T> signal;
};

// What the sums of rows begin with (data is null: 0; `steady`: one number for all samples; else `valid` samples) and where they go.
template <typename T>
struct Ends {
  View<const T> start;
  bool steady;
  View<T> out;
  int64_t valid;
};
template <typename T, int K, int V, bool kSlots>
inline void add_part(const Part<T>& part, int64_t row, typename Vector<T>::type (&total)[K][V]) {
  constexpr int lanes = Vector<T>::lanes;
  const Table& table = part.table;
  for (int64_t e = table.begin[row]; e < table.begin[row + 1]; ++e) {
    if constexpr (kSlots)
      for (int c = 0; c < K; ++c) __builtin_prefetch(part.values + c * part.step + table.slots[std::min(e + 32, table.count - 1)]);
    const T* from = part.signal.data + table.sources[e] * part.signal.row;
    const T* numbers = part.values + (kSlots ? table.slots[e] : e);
    for (int c = 0; c < K; ++c) {
      const T number = numbers[c * part.step];
      for (int v = 0; v < V; ++v) total[c][v] += number * load(from + c * part.signal.channel + v * lanes);
    }
  }
}

// One row, K channels and V vectors of samples: start + sum of number * signal of the sender, over all parts in turn.
template <typename T, int K, int V>
inline void sum_row(const std::vector<Part<T>>& parts, int64_t row, const Ends<T>& ends) {
  typedef typename Vector<T>::type Vec;
  constexpr int lanes = Vector<T>::lanes;
  Vec total[K][V];
  for (int c = 0; c < K; ++c) {
    const T* from = ends.start.data + row * ends.start.row + c * ends.start.channel;
    for (int v = 0; v < V; ++v)
      total[c][v] = !ends.start.data ? Vec{} : ends.steady ? Vec{} + *from : load_some(from + v * lanes, ends.valid - v * lanes);
  }
  for (const Part<T>& part : parts) {
    if (part.table.slots) add_part<T, K, V, true>(part, row, total);
    else add_part<T, K, V, false>(part, row, total);
  }
  for (int c = 0; c < K; ++c)
    for (int v = 0; v < V; ++v) store(ends.out.data + row * ends.out.row + c * ends.out.channel + v * lanes, total[c][v]);
}

// Rows first .. last of all channels, as many of these at a time as there are vectors for eight sums.
template <typename T, int V>
void sum_channels(std::vector<Part<T>>& parts, int64_t first, int64_t last, Ends<T> ends, int64_t channels) {
  auto shift = [&](int64_t by) {
    for (Part<T>& part : parts) part.values += by * part.step, part.signal = part.signal.shifted(by);
    ends.start = ends.start.shifted(by), ends.out = ends.out.shifted(by);
  };
  int64_t c = 0;
  auto take = [&](auto width) {
    constexpr int K = decltype(width)::value;
    for (; c + K <= channels; c += K, shift(K))
      for (int64_t row = first; row < last; ++row) sum_row<T, K, V>(parts, row, ends);
  };
  if constexpr (V <= 2) take(std::integral_constant<int, 4>{});
  if constexpr (V <= 4) take(std::integral_constant<int, 2>{});
  take(std::integral_constant<int, 1>{});
  shift(-c);
}

// -- activations -----------------------------------------------------------------------------------------------------------

enum Activation : int64_t { kIdentity, kRelu, kTanh, kReluTanh };

// The rational approximation that XLA and Eigen use.
inline Vector<float>::type tanh_of(Vector<float>::type x) {
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

template <typename Vec>
inline Vec activated(int64_t activation, Vec x) {
  if (activation == kTanh || activation == kReluTanh) x = tanh_of(x);
  return activation == kRelu || activation == kReluTanh ? (x < Vec{} ? Vec{} : x) : x;
}

// z = start + sums; u = keep * offset + gate * gain * (inner z); state = activation(u); signal = outer state + shift. What is null
// drops out. Matrices are [channels, channels], the rest [channels, neurons, batch].
template <typename T>
struct Sweep {
  int64_t channels, neurons, batch, activation, tiles;
  const int32_t* bounds;
  bool descending;
  T keep, gate;
  const T *start, *inner, *outer, *offset, *gain, *shift;
  int64_t start_batch;
  T *states, *signals, *inflows;
};

// out[c] = sum over d of matrix[c, d] in[d], on [channels, V vectors].
template <typename T, int V, int K>
inline void mix(const T* matrix, const T* in, T* out, int64_t some) {
  constexpr int lanes = Vector<T>::lanes;
  const int64_t channels = K ? K : some;
  for (int64_t c = 0; c < channels; ++c)
    for (int v = 0; v < V; ++v) {
      typename Vector<T>::type total = matrix[c * channels] * load(in + v * lanes);
      for (int64_t d = 1; d < channels; ++d) total += matrix[c * channels + d] * load(in + (d * V + v) * lanes);
      store(out + (c * V + v) * lanes, total);
    }
}

// Rows whose sums are taken before any of them is updated: two short loops keep more loads in flight than one long one.
constexpr int64_t kRun = 32;

// The samples from b on, V vectors of them; parts[0] are the synapses between the rows. Rows of a tile, bounds[t] .. bounds[t + 1], do
// not depend on each other. `memory`: [(neurons + kRun + 1) * channels * V * lanes].
template <typename T, int V, int K>
void sweep_block(const Sweep<T>& job, std::vector<Part<T>> parts, int64_t b, T* memory) {
  typedef typename Vector<T>::type Vec;
  constexpr int lanes = Vector<T>::lanes, width = V * lanes;
  const int64_t k = K ? K : job.channels, batch = job.batch, valid = std::min<int64_t>(width, batch - b), number = k * width;
  T *const sums = memory, *const mixed = sums + kRun * number, *const packed = mixed + number;
  std::fill(memory, packed, T(0));
  parts[0].signal = {packed, number, width};
  const bool steady = job.start_batch != batch;
  const View<const T> start{job.start ? job.start + (steady ? 0 : b) : nullptr, job.start_batch, job.neurons * job.start_batch};
  auto update = [&](int64_t row, T* z) {
    // `act` on every vector: its place in z, that of its samples in a whole array, and how many of them are valid.
    auto each = [&](auto act) {
      for (int64_t c = 0; c < k; ++c)
        for (int v = 0; v < V; ++v) act((c * V + v) * lanes, (c * job.neurons + row) * batch + b + v * lanes, valid - v * lanes);
    };
    if (job.inflows) each([&](int64_t at, int64_t to, int64_t some) { store_some(job.inflows + to, load(z + at), some); });
    T* u = z;
    if (job.inner) mix<T, V, K>(job.inner, z, u = mixed, k);
    each([&](int64_t at, int64_t to, int64_t some) {
      Vec x = job.gate * load(u + at);
      if (job.gain) x *= load_some(job.gain + to, some);
      if (job.offset) x += job.keep * load_some(job.offset + to, some);
      x = activated(job.activation, x);
      store(u + at, x);
      store_some(job.states + to, x, some);
    });
    T* signal = packed + row * number;
    if (job.outer) mix<T, V, K>(job.outer, u, signal, k);
    else std::memcpy(signal, u, number * sizeof(T));
    if (job.shift)
      each([&](int64_t at, int64_t to, int64_t some) { store(signal + at, load(signal + at) + load_some(job.shift + to, some)); });
    if (job.signals) each([&](int64_t at, int64_t to, int64_t some) { store_some(job.signals + to, load(signal + at), some); });
  };
  // Lines of a row that `update` will read and write.
  auto fetch = [&](int64_t row) {
    for (int64_t c = 0; c < k; ++c)
      for (int64_t line = 0; line < width; line += 64 / sizeof(T)) {
        const int64_t to = (c * job.neurons + row) * batch + b + line;
        __builtin_prefetch(job.states + to, 1);
        if (job.offset) __builtin_prefetch(job.offset + to);
        if (job.gain) __builtin_prefetch(job.gain + to);
        if (job.shift) __builtin_prefetch(job.shift + to);
        if (job.signals) __builtin_prefetch(job.signals + to, 1);
        if (job.inflows) __builtin_prefetch(job.inflows + to, 1);
      }
  };
  for (int64_t i = 0; i < job.tiles; ++i) {
    const int64_t tile = job.descending ? job.tiles - 1 - i : i;
    for (int64_t row = job.bounds[tile]; row < job.bounds[tile + 1]; row += kRun) {
      const int64_t last = std::min<int64_t>(job.bounds[tile + 1], row + kRun);
      for (int64_t r = row; r < last; ++r) fetch(r);
      sum_channels<T, V>(parts, row, last, {start, steady, {sums - row * number, number, width}, valid}, k);
      for (int64_t r = row; r < last; ++r) update(r, sums + (r - row) * number);
    }
  }
}

// Samples b .. b + V vectors of [channels, neurons, batch] as [neurons, channels, V vectors]; samples beyond the batch are 0.
template <typename T, int V>
void pack(const T* from, int64_t channels, int64_t neurons, int64_t batch, int64_t b, T* to) {
  constexpr int lanes = Vector<T>::lanes;
  for (int64_t row = 0; row < neurons; ++row)
    for (int64_t c = 0; c < channels; ++c)
      for (int v = 0; v < V; ++v, to += lanes)
        store(to, load_some(from + (c * neurons + row) * batch + b + v * lanes, batch - b - v * lanes));
}

// Vectors of samples that a sweep takes at once, 1 to 8: more samples are fetched together, fewer blocks are shared out to helpers.
template <typename T>
int64_t block_vectors(int64_t batch, int64_t helpers) {
  constexpr int64_t lanes = Vector<T>::lanes, least = 64 / kBytes;
  int64_t vectors = 8;
  while (vectors > least && ((vectors / 2) * lanes >= batch || batch < helpers * vectors * lanes)) vectors /= 2;
  return vectors;
}

template <typename Run>
void by_vectors(int64_t vectors, Run run) {
  if (vectors == 8) run(std::integral_constant<int, 8>{});
  else if (vectors == 4) run(std::integral_constant<int, 4>{});
  else if (vectors == 2) run(std::integral_constant<int, 2>{});
  else run(std::integral_constant<int, 1>{});
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
  const int64_t vectors = block_vectors<T>(job.batch, workers(pool));
  const int64_t width = vectors * lanes, blocks = (job.batch + width - 1) / width;
  struct Other {
    Table table;
    ffi::AnyBuffer values, signal;
  };
  std::vector<Other> more;
  const int64_t own = (job.neurons + kRun + 1) * job.channels * width;
  int64_t size = own;
  for (size_t i = 0; i + 5 <= others.size(); i += 5) {
    auto at = [&](size_t j) { return *others.get<ffi::AnyBuffer>(i + j); };
    more.push_back({table_of(at(0), at(1), at(2)), at(3), at(4)});
    size += dim(at(4), 2) * dim(at(4), 3) * width;
  }
  Scratch<T> scratch(workers(pool), size);
  for (int64_t replica = 0, replicas = product_of(lead); replica < replicas; ++replica) {
    auto part = [&](const Table& table, const ffi::AnyBuffer& values) {
      return Part<T>{table, data_of<T>(values) + Leading(values, 2, lead).offset(replica), dim(values, 2) == 1 ? 0 : dim(values, 1), {}};
    };
    std::vector<Part<T>> parts{part(table, values)};
    for (const Other& other : more) parts.push_back(part(other.table, other.values));
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
    share(pool, blocks, [&](int64_t block, int64_t worker) {
      by_vectors(vectors, [&](auto some) {
        constexpr int V = decltype(some)::value;
        auto mine = parts;
        T* memory = scratch.of(worker);
        T* at = memory + own;
        for (size_t i = 0; i < more.size(); ++i) {
          const int64_t senders = dim(more[i].signal, 2), k = dim(more[i].signal, 3);
          const T* from = data_of<T>(more[i].signal) + Leading(more[i].signal, 3, lead).offset(replica);
          pack<T, V>(from, k, senders, job.batch, block * width, at);
          mine[i + 1].signal = {at, k * width, k == 1 ? 0 : width};
          at += senders * k * width;
        }
        if (job.channels == 2) sweep_block<T, V, 2>(job, mine, block * width, memory);
        else sweep_block<T, V, 0>(job, mine, block * width, memory);
      });
    });
  }
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
