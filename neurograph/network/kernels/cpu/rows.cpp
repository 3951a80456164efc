// Irregular synapses: sums over rows of a table.

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "calls.h"
#include "vectors.h"

namespace {

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
  const int64_t far = span ? 0 : senders * batch * int64_t(sizeof(T));  // a window is small
  const auto pieces = pieces_of(table, window, window + rows, far, batch * sizeof(T), batch, batch);
  const int64_t runs = pieces.size();
  share(pool, replicas * channels * runs, [&](int64_t piece, int64_t) {
    const Piece& run = pieces[piece % runs];
    const int64_t channel = piece / runs % channels, replica = piece / runs / channels;
    const T* v = value_data + of_values.offset(replica) + channel * value_step;
    const T* s = signal_data + of_signal.offset(replica) + channel * signal_step;
    const T* a = start ? start_data + of_start.offset(replica) + channel * start_rows * start_batch : nullptr;
    T* o = out_data + ((replica * channels + channel) * rows - window) * batch;
    auto start_of = [&](int64_t row, int64_t count) {
      const T* begin = a ? a + row * start_batch : nullptr;
      if (start_batch == batch) return begin;
      T* here = o + row * batch;  // one number for the whole batch
      for (int64_t r = 0; r < count; ++r) std::fill(here + r * batch, here + (r + 1) * batch, begin[r]);
      return static_cast<const T*>(here);
    };
    if (run.bands.count > 1) {
      std::vector<int32_t> done(table.begin + run.first, table.begin + run.last);
      for (int64_t band = 0; band < run.bands.count; ++band)
        for (int64_t row = run.first; row < run.last; ++row) {
          int32_t* const e = &done[row - run.first];
          if (row + kAhead < run.last) fetch_synapses(table, done[row - run.first + kAhead], v, v);
          const int32_t ends[2] = {*e, int32_t(run.bands.end(table, row, *e, band))};
          T* const here = o + row * batch;
          const Table part{ends, table.sources, table.slots, table.count};
          if (band == 0 || ends[0] < ends[1]) sum_twins<T>(1, part, 0, v, s, batch, band ? here : start_of(row, 1), here);
          *e = ends[1];
        }
      return;
    }
    for (int64_t row = run.first; row < run.last;) {
      const bool inside = row >= first && row < last;
      const int64_t rows_here = inside ? twins(table, row, std::min(run.last, last)) : 1;
      T* here = o + row * batch;
      const T* begin = start_of(row, rows_here);
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

ffi::Error Flow(ffi::ThreadPool pool, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots, ffi::AnyBuffer values,
                ffi::AnyBuffer signal, ffi::AnyBuffer start, ffi::Result<ffi::AnyBuffer> out) {
  const ffi::AnyBuffer* first = start.element_count() ? &start : nullptr;
  return checked(signal.element_type(), [&] {
    flow<Number>(pool, nullptr, table_of(begin, sources, slots), values, signal, first, *out);
  });
}

// Memory as it is, for arrays of which every number will be written.
ffi::Error Empty(ffi::AnyBuffer, ffi::Result<ffi::AnyBuffer>, int64_t) { return ffi::Error::Success(); }

ffi::Error Tile(ffi::ThreadPool pool, ffi::AnyBuffer span, ffi::AnyBuffer begin, ffi::AnyBuffer sources, ffi::AnyBuffer slots,
                ffi::AnyBuffer values, ffi::AnyBuffer signal, ffi::AnyBuffer start, ffi::Result<ffi::AnyBuffer> out) {
  return checked(signal.element_type(), [&] {
    flow<Number>(pool, ints(span), table_of(begin, sources, slots), values, signal, &start, *out);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_flow, Flow, binding<6>().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_empty, Empty,
                              ffi::Ffi::Bind().Arg<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>().Attr<int64_t>("number"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(neurograph_tile, Tile, binding<7>().Ret<ffi::AnyBuffer>());
