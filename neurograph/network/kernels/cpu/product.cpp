// The product of both ends of every synapse, summed over the batch.

#include <algorithm>
#include <utility>
#include <vector>

#include "calls.h"
#include "vectors.h"

namespace {

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

// Synapses e .. last of one row.
template <typename T>
__attribute__((noinline)) void row_products(const Table& table, int64_t e, int64_t last, const T* pre, const T* post, int64_t batch, T* out) {
  constexpr int lanes = Vector<T>::lanes;
  for (; e + lanes <= last; e += lanes) products<T, lanes>(table, e, pre, post, batch, out);
  if constexpr (lanes > 8) for (; e + 8 <= last; e += 8) products<T, 8>(table, e, pre, post, batch, out);
  if constexpr (lanes > 4) for (; e + 4 <= last; e += 4) products<T, 4>(table, e, pre, post, batch, out);
  for (; e + 2 <= last; e += 2) products<T, 2>(table, e, pre, post, batch, out);
  for (; e < last; ++e) products<T, 1>(table, e, pre, post, batch, out);
}

// A row of the batch of `rows[0]`, `rows[1]`, ... (`step` apart), each times its number of `mixture`, summed.
template <typename T>
void mix_row(const T* mixture, const T* rows, int64_t count, int64_t step, int64_t batch, T* out) {
  constexpr int lanes = Vector<T>::lanes;
  int64_t b = 0;
  for (; b + lanes <= batch; b += lanes) {
    typename Vector<T>::type total = mixture[0] * load(rows + b);
    for (int64_t d = 1; d < count; ++d) total += mixture[d] * load(rows + d * step + b);
    store(out + b, total);
  }
  for (; b < batch; ++b) {
    T total = mixture[0] * rows[b];
    for (int64_t d = 1; d < count; ++d) total += mixture[d] * rows[d * step + b];
    out[b] = total;
  }
}

// pre [channels, senders, batch], post [states, rows, batch]; `mixture` [channels, states] turns states into what stands at a
// receiver, row by row, or is empty: states are channels.
template <typename T>
void product(ffi::ThreadPool pool, const Table& table, int64_t rows, const ffi::AnyBuffer& pre, const ffi::AnyBuffer& post,
             const ffi::AnyBuffer& mixture, ffi::AnyBuffer out) {
  const auto dims = out.dimensions();
  const auto lead = dims.first(dims.size() - 2);
  const int64_t channels = dim(out, 2), numbers = dim(out, 1), batch = dim(pre, 1), senders = dim(pre, 2), states = dim(post, 3);
  const Leading of_pre(pre, 3, lead), of_post(post, 3, lead), of_mixture(mixture, 2, lead);
  const T *pre_data = data_of<T>(pre), *post_data = data_of<T>(post), *mixture_data = data_of<T>(mixture);
  T* out_data = static_cast<T*>(out.untyped_data());
  const auto pieces = pieces_of(table, 0, rows, senders * batch * sizeof(T), batch * sizeof(T), batch, 0);
  const int64_t runs = pieces.size();
  Scratch<T> scratch(workers(pool), batch);
  share(pool, product_of(lead) * channels * runs, [&](int64_t piece, int64_t worker) {
    const Piece& run = pieces[piece % runs];
    const int64_t channel = piece / runs % channels, replica = piece / runs / channels;
    const T* a = pre_data + of_pre.offset(replica) + channel * senders * batch;
    const T* b = post_data + of_post.offset(replica);
    T* o = out_data + (replica * channels + channel) * numbers;
    auto take = [&](int64_t row, int64_t e, int64_t last) {
      if (e == last) return;
      const T* here = b + row * batch;
      if (mixture_data) {
        const T* numbers_of = mixture_data + of_mixture.offset(replica) + channel * states;
        mix_row(numbers_of, here, states, rows * batch, batch, scratch.of(worker));
        here = scratch.of(worker);
      } else {
        here += channel * rows * batch;
      }
      row_products<T>(table, e, last, a, here, batch, o);
    };
    std::vector<int32_t> done(table.begin + run.first, table.begin + run.last);
    for (int64_t band = 0; band < run.bands.count; ++band)
      for (int64_t row = run.first; row < run.last; ++row) {
        int32_t& e = done[row - run.first];
        if (run.bands.count > 1 && row + kAhead < run.last) fetch_synapses(table, done[row - run.first + kAhead], o, o);
        const int64_t last = run.bands.end(table, row, e, band);
        take(row, e, last);
        e = int32_t(last);
      }
  });
}

ffi::Error Product(ffi::ThreadPool pool, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots, ffi::AnyBuffer pre,
                   ffi::AnyBuffer post, ffi::AnyBuffer mixture, ffi::Result<ffi::AnyBuffer> out) {
  return checked(pre.element_type(), [&] {
    product<Number>(pool, table_of(begin, sources, slots), dim(begin, 1) - 1, pre, post, mixture, *out);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_product, Product, binding<6>().Ret<ffi::AnyBuffer>());
