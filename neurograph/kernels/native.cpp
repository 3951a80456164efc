// Irregular synapses on a CPU: sums over rows of a compressed sparse table, and the product of both ends of every synapse.
//
// Arrays are [..., channels, neurons, batch], row-major, batch innermost. A table has one row per receiving neuron: its synapses e
// lie in begin[row] .. begin[row + 1], sources[e] is the sender and slots[e] where the synapse's number stands (no slots: at e).
// Leading axes are those of jax.vmap; an axis of size 1 serves all. Every row (every product) is computed by one thread in one
// fixed order, so results do not depend on the number of threads.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(kBytes)));
  typedef T unaligned __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
  static constexpr int lanes = kBytes / sizeof(T);
};

template <typename T>
inline typename Vector<T>::type load(const T* at) {
  return *reinterpret_cast<const typename Vector<T>::unaligned*>(at);
}

template <typename T>
inline void store(T* at, typename Vector<T>::type value) {
  *reinterpret_cast<typename Vector<T>::unaligned*>(at) = value;
}

// Halves of every block of 2 * kWidth lanes are added up: a's sums become the first half of the block, b's the second.
template <int kWidth, typename V, size_t... kLane>
inline V fold(V a, V b, std::index_sequence<kLane...>) {
  constexpr int lanes = sizeof...(kLane), block = 2 * kWidth;
  const V first = __builtin_shufflevector(a, b, (kLane % block < kWidth ? kLane : lanes + kLane - kWidth)...);
  const V second = __builtin_shufflevector(a, b, (kLane % block < kWidth ? kLane + kWidth : lanes + kLane)...);
  return first + second;
}

// Arrays are indexed by constants alone, here and below: the compiler then keeps them in registers.
template <int kWidth, typename V, size_t... kPair, size_t... kLane>
inline V sums_of(const V* v, std::index_sequence<kPair...>, std::index_sequence<kLane...> lanes) {
  constexpr int half = sizeof...(kPair);
  if constexpr (half == 0) {
    return v[0];
  } else {
    const V next[half] = {fold<kWidth>(v[kPair], v[kPair + half], lanes)...};
    return sums_of<kWidth / 2>(next, std::make_index_sequence<half / 2>{}, lanes);
  }
}

// Sums over the lanes of N vectors, as far as folding them into one adds up: that of vector i in N-th part i of the lanes.
template <typename T, int N>
inline typename Vector<T>::type sums(const typename Vector<T>::type* v) {
  constexpr int lanes = Vector<T>::lanes;
  return sums_of<lanes / 2>(v, std::make_index_sequence<N / 2>{}, std::make_index_sequence<lanes>{});
}

// The rest of it: every run of 2 * kWidth lanes is added up.
template <int kWidth, typename V>
inline V sum_runs(V v) {
  if constexpr (kWidth == 0) {
    return v;
  } else {
    return sum_runs<kWidth / 2>(fold<kWidth>(v, v, std::make_index_sequence<sizeof(V) / sizeof(v[0])>{}));
  }
}

struct Table {
  const int32_t* begin;
  const int32_t* sources;
  const int32_t* slots;  // null: the number of synapse e stands at e
  int64_t count;         // of synapses
  int64_t slot(int64_t e) const { return slots ? slots[e] : e; }
};

// How many of the rows from `row` on, up to `limit` and of 1, 2 or 4, have the same senders as it: maps of one window share loads.
int64_t twins(const Table& table, int64_t row, int64_t limit) {
  const int64_t first = table.begin[row], count = table.begin[row + 1] - first;
  int64_t rows = 1;
  for (; rows < 4 && row + rows < limit; ++rows) {
    const int64_t other = table.begin[row + rows];
    if (count < 4 || table.begin[row + rows + 1] - other != count || table.sources[other] != table.sources[first]) break;
    if (std::memcmp(table.sources + other, table.sources + first, count * sizeof(int32_t))) break;
  }
  return rows == 3 ? 2 : rows;
}

// kRows twin rows over N vectors of the batch: out = start (or 0) + sum of number * signal of the sender.
template <typename T, int kRows, int N, bool kSlots>
inline void row_lanes(const Table& table, int64_t row, const T* values, const T* signal, int64_t batch, const T* start, T* out) {
  typedef typename Vector<T>::type V;
  constexpr int lanes = Vector<T>::lanes;
  const int64_t first = table.begin[row], count = table.begin[row + 1] - first;
  V total[kRows][N];
  for (int r = 0; r < kRows; ++r)
    for (int i = 0; i < N; ++i) total[r][i] = start ? load(start + r * batch + i * lanes) : V{};
  for (int64_t e = first; e < first + count; ++e) {
    const T* from = signal + table.sources[e] * batch;
    V sent[N];
    for (int i = 0; i < N; ++i) sent[i] = load(from + i * lanes);
    for (int r = 0; r < kRows; ++r) {
      const int64_t at = e + r * count;
      // Numbers that stand in no order are asked for long before they are needed.
      if constexpr (kSlots) __builtin_prefetch(values + table.slots[std::min(at + 32, table.count - 1)]);
      const T number = values[kSlots ? table.slots[at] : at];
      for (int i = 0; i < N; ++i) total[r][i] += number * sent[i];
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int i = 0; i < N; ++i) store(out + r * batch + i * lanes, total[r][i]);
}

template <typename T, int kRows, bool kSlots>
void row_sums(const Table& table, int64_t row, const T* values, const T* signal, int64_t batch, const T* start, T* out) {
  constexpr int lanes = Vector<T>::lanes;
  int64_t b = 0;
  auto take = [&](auto vectors) {
    constexpr int n = decltype(vectors)::value;
    for (; b + n * lanes <= batch; b += n * lanes)
      row_lanes<T, kRows, n, kSlots>(table, row, values, signal + b, batch, start ? start + b : nullptr, out + b);
  };
  if constexpr (kRows == 1) take(std::integral_constant<int, 8>{});
  take(std::integral_constant<int, 4>{});
  take(std::integral_constant<int, 2>{});
  take(std::integral_constant<int, 1>{});
  for (; b < batch; ++b) {
    for (int64_t r = 0; r < kRows; ++r) {
      T total = start ? start[r * batch + b] : T(0);
      for (int64_t e = table.begin[row + r]; e < table.begin[row + r + 1]; ++e)
        total += values[kSlots ? table.slots[e] : e] * signal[table.sources[e] * batch + b];
      out[r * batch + b] = total;
    }
  }
}

template <typename T>
void sum_twins(int64_t rows, const Table& table, int64_t row, const T* values, const T* signal, int64_t batch, const T* start,
               T* out) {
  auto run = [&](auto slots) {
    constexpr bool kSlots = decltype(slots)::value;
    if (rows == 4) row_sums<T, 4, kSlots>(table, row, values, signal, batch, start, out);
    else if (rows == 2) row_sums<T, 2, kSlots>(table, row, values, signal, batch, start, out);
    else row_sums<T, 1, kSlots>(table, row, values, signal, batch, start, out);
  };
  if (table.slots) run(std::true_type{});
  else run(std::false_type{});
}

// Products with one receiver of senders sources[0], sources[kStep], ..., over the first `whole` of the batch; see `sums`.
template <typename T, int kStep, size_t... I>
inline typename Vector<T>::type dots(const int32_t* sources, const T* pre, const T* post, int64_t batch, int64_t whole,
                                     std::index_sequence<I...>) {
  typedef typename Vector<T>::type V;
  constexpr int N = sizeof...(I), lanes = Vector<T>::lanes;
  const T* const from[N] = {pre + sources[I * kStep] * batch...};
  V total[N] = {((void)I, V{})...};
  for (int64_t b = 0; b < whole; b += lanes) {
    const V here = load(post + b);
    ((total[I] += here * load(from[I] + b)), ...);
  }
  return sums<T, N>(total);
}

// N synapses e, e + 1, ... of one row: the sum over the batch of the sender's number times the receiver's.
template <typename T, int N>
inline void products(const Table& table, int64_t e, const T* pre, const T* post, int64_t batch, T* out) {
  constexpr int lanes = Vector<T>::lanes, group = N < 8 ? N : 8;
  const int64_t whole = batch / lanes * lanes;
  const int32_t* sources = table.sources + e;
  constexpr auto some = std::make_index_sequence<group>{};
  typename Vector<T>::type summed = dots<T, N / group>(sources, pre, post, batch, whole, some);
  if constexpr (N > group) {  // two groups: even and odd ones
    static_assert(N == 2 * group && N == lanes);
    summed = fold<1>(summed, dots<T, 2>(sources + 1, pre, post, batch, whole, some), std::make_index_sequence<lanes>{});
  } else {
    summed = sum_runs<lanes / N / 2>(summed);
  }
  for (int64_t rest = whole; rest < batch; ++rest)
    for (int i = 0; i < N; ++i) summed[i * (lanes / N)] += post[rest] * pre[sources[i] * batch + rest];
  if (N == lanes && !table.slots) {
    store(out + e, summed);
  } else {
    for (int i = 0; i < N; ++i) out[table.slot(e + i)] = summed[i * (lanes / N)];
  }
}

template <typename T>
void row_products(const Table& table, int64_t row, const T* pre, const T* post, int64_t batch, T* out) {
  constexpr int lanes = Vector<T>::lanes;
  int64_t e = table.begin[row];
  const int64_t last = table.begin[row + 1];
  post += row * batch;
  for (; e + lanes <= last; e += lanes) products<T, lanes>(table, e, pre, post, batch, out);
  if constexpr (lanes > 8) for (; e + 8 <= last; e += 8) products<T, 8>(table, e, pre, post, batch, out);
  if constexpr (lanes > 4) for (; e + 4 <= last; e += 4) products<T, 4>(table, e, pre, post, batch, out);
  for (; e + 2 <= last; e += 2) products<T, 2>(table, e, pre, post, batch, out);
  for (; e < last; ++e) products<T, 1>(table, e, pre, post, batch, out);
}

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

// `count` samples, the rest of the vector 0.
template <typename T>
inline typename Vector<T>::type load_some(const T* at, int64_t count) {
  if (count >= Vector<T>::lanes) return load(at);
  T some[Vector<T>::lanes] = {};
  for (int64_t i = 0; i < count; ++i) some[i] = at[i];
  return load(some);
}

template <typename T>
inline void store_some(T* at, typename Vector<T>::type value, int64_t count) {
  if (count >= Vector<T>::lanes) return store(at, value);
  for (int64_t i = 0; i < count; ++i) at[i] = value[i];
}

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

// -- a sweep: rows one after another, each updated as soon as its sum is there ------------------------------------------------

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

// An operand under jax.vmap: where its part for one index of the leading axes begins.
class Leading {
 public:
  Leading(const ffi::AnyBuffer& buffer, size_t rank, ffi::Span<const int64_t> lead) {
    const auto dims = buffer.dimensions();
    size_ = 1;
    for (size_t i = dims.size() - rank; i < dims.size(); ++i) size_ *= dims[i];
    strides_.assign(lead.size(), 0);
    int64_t stride = size_;
    const size_t mine = dims.size() - rank;
    for (size_t i = 0; i < mine && i < lead.size(); ++i) {
      const int64_t dim = dims[mine - 1 - i];
      if (dim != 1) strides_[lead.size() - 1 - i] = stride;
      stride *= dim;
    }
    lead_.assign(lead.begin(), lead.end());
  }

  int64_t offset(int64_t index) const {
    int64_t out = 0;
    for (size_t i = lead_.size(); i-- > 0;) {
      out += (index % lead_[i]) * strides_[i];
      index /= lead_[i];
    }
    return out;
  }

 private:
  int64_t size_;
  std::vector<int64_t> strides_, lead_;
};

int64_t dim(const ffi::AnyBuffer& buffer, int back) { return buffer.dimensions()[buffer.dimensions().size() - back]; }

// Calls work(piece, worker) for all pieces, by as many workers as the pool has threads. The caller, worker 0, takes pieces as well and
// waits only for those that another thread has begun: no thread waits for one that has not started, so a busy pool cannot lock up.
template <typename Work>
void share(ffi::ThreadPool pool, int64_t pieces, Work work) {
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), pieces) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < pieces; ++i) work(i, 0);
    return;
  }
  struct Shared {
    std::atomic<int64_t> next{0};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable all;
  };
  auto shared = std::make_shared<Shared>();
  const Work* job = &work;  // alive until the last piece is done; whoever finds no piece left does not touch it
  auto run = [shared, job, pieces](int64_t worker) {
    int64_t mine = 0;
    for (int64_t i; (i = shared->next.fetch_add(1)) < pieces; ++mine) (*job)(i, worker);
    if (!mine) return;
    std::lock_guard<std::mutex> lock(shared->mutex);
    if ((shared->done += mine) == pieces) shared->all.notify_all();
  };
  for (int64_t i = 0; i < helpers; ++i) {
    auto copy = [run, i] { run(i + 1); };
    pool.Schedule(std::move(copy));
  }
  run(0);
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all.wait(lock, [&] { return shared->done == pieces; });
}

int64_t workers(ffi::ThreadPool pool) { return std::max<int64_t>(pool.num_threads(), 1); }

// Memory of every worker of one call, made when first asked for.
template <typename T>
class Scratch {
 public:
  Scratch(int64_t count, int64_t size) : size_(size), held_(count) {}
  T* of(int64_t worker) {
    if (!held_[worker]) held_[worker].reset(static_cast<T*>(::operator new(size_ * sizeof(T), kAlign)));
    return held_[worker].get();
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(T* at) const { ::operator delete(at, kAlign); }
  };
  int64_t size_;
  std::vector<std::unique_ptr<T, Free>> held_;
};

// Multiply-adds that are worth handing to another thread.
constexpr int64_t kPiece = 1 << 18;

// Rows cut into runs of about equal numbers of synapses.
std::vector<int64_t> cut_rows(const int32_t* begin, int64_t first, int64_t last, int64_t per_synapse, int64_t per_row) {
  std::vector<int64_t> cuts{first};
  int64_t cost = 0;
  for (int64_t row = first; row < last; ++row) {
    cost += (begin[row + 1] - begin[row]) * per_synapse + per_row;
    if (cost >= kPiece) cuts.push_back(row + 1), cost = 0;
  }
  if (cuts.back() != last) cuts.push_back(last);
  return cuts;
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

const int32_t* ints(const ffi::AnyBuffer& buffer) { return static_cast<const int32_t*>(buffer.untyped_data()); }

// The numbers of an operand, or null where it has none.
template <typename T>
const T* data_of(const ffi::AnyBuffer& buffer) {
  return buffer.element_count() ? static_cast<const T*>(buffer.untyped_data()) : nullptr;
}

Table table_of(const ffi::AnyBuffer& begin, const ffi::AnyBuffer& sources, const ffi::AnyBuffer& slots) {
  return {ints(begin), ints(sources), data_of<int32_t>(slots), int64_t(sources.element_count())};
}

int64_t product_of(ffi::Span<const int64_t> dims) {
  int64_t out = 1;
  for (int64_t size : dims) out *= size;
  return out;
}

// Rows span[1] .. span[2] of the window that starts at span[0]; other rows of the window are only their start.
template <typename T>
void flow(ffi::ThreadPool pool, const int32_t* span, const Table& table, const ffi::AnyBuffer& values, const ffi::AnyBuffer& signal,
          const ffi::AnyBuffer* start, ffi::AnyBuffer out) {
  const auto dims = out.dimensions();
  const auto lead = dims.first(dims.size() - 3);
  const int64_t channels = dim(out, 3), rows = dim(out, 2), batch = dim(out, 1), senders = dim(signal, 2);
  const int64_t numbers = dim(values, 1), value_step = dim(values, 2) == 1 ? 0 : numbers;
  const int64_t signal_step = dim(signal, 3) == 1 ? 0 : senders * batch;
  const int64_t start_rows = start ? dim(*start, 2) : 0, start_batch = start ? dim(*start, 1) : batch;
  const Leading of_values(values, 2, lead), of_signal(signal, 3, lead), of_start(start ? *start : out, 3, lead);
  const int64_t replicas = product_of(lead);
  const T* value_data = static_cast<const T*>(values.untyped_data());
  const T* signal_data = static_cast<const T*>(signal.untyped_data());
  const T* start_data = start ? static_cast<const T*>(start->untyped_data()) : nullptr;
  T* out_data = static_cast<T*>(out.untyped_data());
  const int64_t window = span ? span[0] : 0, first = span ? span[1] : 0, last = span ? span[2] : rows;
  const auto cuts = cut_rows(table.begin, window, window + rows, batch, batch);
  const int64_t runs = cuts.size() - 1;
  share(pool, replicas * channels * runs, [&](int64_t piece, int64_t) {
    const int64_t run = piece % runs, channel = piece / runs % channels, replica = piece / runs / channels;
    const T* v = value_data + of_values.offset(replica) + channel * value_step;
    const T* s = signal_data + of_signal.offset(replica) + channel * signal_step;
    const T* a = start ? start_data + of_start.offset(replica) + channel * start_rows * start_batch : nullptr;
    T* o = out_data + ((replica * channels + channel) * rows - window) * batch;
    for (int64_t row = cuts[run]; row < cuts[run + 1];) {
      const bool inside = row >= first && row < last;
      const int64_t rows_here = inside ? twins(table, row, std::min(cuts[run + 1], last)) : 1;
      T* here = o + row * batch;
      const T* begin = a ? a + row * start_batch : nullptr;
      if (start_batch != batch) {  // one number for the whole batch
        for (int64_t r = 0; r < rows_here; ++r) std::fill(here + r * batch, here + (r + 1) * batch, begin[r]);
        begin = here;
      }
      if (!inside) {
        if (!begin) std::fill(here, here + batch, T(0));
        else if (begin != here) std::memcpy(here, begin, batch * sizeof(T));
      } else {
        sum_twins<T>(rows_here, table, row, v, s, batch, begin, here);
      }
      row += rows_here;
    }
  });
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

template <typename T>
void product(ffi::ThreadPool pool, const Table& table, int64_t rows, const ffi::AnyBuffer& pre, const ffi::AnyBuffer& post,
             ffi::AnyBuffer out) {
  const auto dims = out.dimensions();
  const auto lead = dims.first(dims.size() - 2);
  const int64_t channels = dim(out, 2), numbers = dim(out, 1), batch = dim(pre, 1), senders = dim(pre, 2);
  const Leading of_pre(pre, 3, lead), of_post(post, 3, lead);
  const int64_t replicas = product_of(lead);
  const T* pre_data = static_cast<const T*>(pre.untyped_data());
  const T* post_data = static_cast<const T*>(post.untyped_data());
  T* out_data = static_cast<T*>(out.untyped_data());
  const auto cuts = cut_rows(table.begin, 0, rows, batch, 0);
  const int64_t runs = cuts.size() - 1;
  share(pool, replicas * channels * runs, [&](int64_t piece, int64_t) {
    const int64_t run = piece % runs, channel = piece / runs % channels, replica = piece / runs / channels;
    const T* a = pre_data + of_pre.offset(replica) + channel * senders * batch;
    const T* b = post_data + of_post.offset(replica) + channel * rows * batch;
    T* o = out_data + (replica * channels + channel) * numbers;
    for (int64_t row = cuts[run]; row < cuts[run + 1]; ++row) row_products<T>(table, row, a, b, batch, o);
  });
}

template <typename F>
ffi::Error by_type(ffi::DataType type, F run) {
  if (type == ffi::F32) return run(float{}), ffi::Error::Success();
  if (type == ffi::F64) return run(double{}), ffi::Error::Success();
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "neurograph: only float32 and float64 run natively");
}

ffi::Error Flow(ffi::ThreadPool pool, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots, ffi::AnyBuffer values,
                ffi::AnyBuffer signal, ffi::AnyBuffer start, ffi::Result<ffi::AnyBuffer> out) {
  const ffi::AnyBuffer* first = start.element_count() ? &start : nullptr;
  return by_type(signal.element_type(), [&](auto zero) {
    flow<decltype(zero)>(pool, nullptr, table_of(begin, sources, slots), values, signal, first, *out);
  });
}

// Memory as it is, for arrays of which every number will be written.
ffi::Error Empty(ffi::AnyBuffer, ffi::Result<ffi::AnyBuffer>, int64_t) { return ffi::Error::Success(); }

ffi::Error Tile(ffi::ThreadPool pool, ffi::AnyBuffer span, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots,
                ffi::AnyBuffer values, ffi::AnyBuffer signal, ffi::AnyBuffer start, ffi::Result<ffi::AnyBuffer> out) {
  return by_type(signal.element_type(), [&](auto zero) {
    flow<decltype(zero)>(pool, ints(span), table_of(begin, sources, slots), values, signal, &start, *out);
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

ffi::Error Product(ffi::ThreadPool pool, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots, ffi::AnyBuffer pre,
                   ffi::AnyBuffer post, ffi::Result<ffi::AnyBuffer> out) {
  return by_type(pre.element_type(), [&](auto zero) {
    product<decltype(zero)>(pool, table_of(begin, sources, slots), dim(begin, 1) - 1, pre, post, *out);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_flow, Flow,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_empty, Empty,
                              ffi::Ffi::Bind().Arg<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>().Attr<int64_t>("number"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_tile, Tile,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_sweep, SweepRows,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .RemainingArgs()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("activation")
                                  .Attr<int64_t>("against"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_product, Product,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
