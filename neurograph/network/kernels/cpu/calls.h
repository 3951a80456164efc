// What all calls from JAX share: operands and their leading axes, tables of synapses, workers and their memory.
//
// Arrays are [..., channels, neurons, batch], row-major, batch innermost. A table has one row per receiving neuron: its synapses e
// lie in begin[row] .. begin[row + 1], sources[e] is the sender and slots[e] where the synapse's number stands (no slots: at e).
// Leading axes are those of jax.vmap; an axis of size 1 serves all. Every row (every product) is computed by one thread in one
// fixed order, so results do not depend on the number of threads.

#ifndef NEUROGRAPH_CALLS_H_
#define NEUROGRAPH_CALLS_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// One library is compiled for each type of numbers, of which most users need one.
#ifndef NEUROGRAPH_NUMBER
#define NEUROGRAPH_NUMBER float
#endif

namespace {

typedef NEUROGRAPH_NUMBER Number;

struct Table {
  const int32_t* begin;
  const int32_t* sources;
  const int32_t* slots;  // null: the number of synapse e stands at e
  int64_t count;         // of synapses
  int64_t slot(int64_t e) const { return slots ? slots[e] : e; }
};

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

// Bytes that rows read in no order, and that the second-level cache holds beside what streams through it.
int64_t near_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  static const int64_t size = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (size > 0) return size * 5 / 8;
#endif
  return 1 << 20;
}

// The senders of some rows cut into bands of neighbours, `width` of them from `low` on, which stay in the cache while all of the rows
// take what they have of them. A row takes its synapses in their order, whatever the bands are.
struct Bands {
  int64_t low = 0, width = 0, count = 1;
  bool far = false;  // the senders do not fit the cache, and are not cut

  // The end of a band's synapses in a row of which those before e are done: where senders leave the band.
  int64_t end(const Table& table, int64_t row, int64_t e, int64_t band) const {
    const int64_t last = table.begin[row + 1];
    if (band + 1 == count) return last;
    const int32_t limit = int32_t(low + (band + 1) * width);
    for (int64_t below = kRun; below == kRun && e < last; e += below) {
      below = 0;
      const int64_t some = std::min(kRun, last - e);
      for (int64_t i = 0; i < some; ++i) below += table.sources[e + i] < limit;
    }
    return e;
  }

 private:
  static constexpr int64_t kRun = 16;
};

// Rows that the memory is asked for ahead of their turn.
constexpr int64_t kAhead = 8;

// Asks for the synapses of a row that will be visited soon, from e on: bands leave gaps that the processor does not foresee.
template <typename T>
inline void fetch_synapses(const Table& table, int64_t e, const T* first, const T* second) {
  constexpr int64_t line = 64;
  for (int64_t i = 0; i < 2; ++i) {
    __builtin_prefetch(reinterpret_cast<const char*>(table.sources + e) + i * line);
    __builtin_prefetch(reinterpret_cast<const char*>(first + e) + i * line);
    if (second != first) __builtin_prefetch(reinterpret_cast<const char*>(second + e) + i * line);
  }
}

// A row visited once more costs about as much as so many synapses.
constexpr int64_t kVisit = 8;

// Rows first .. last, which read `bytes` of each sender: one band where they all fit the cache, or the bands would have few synapses
// of a row. Rows list their senders in ascending order, but for synapses of several sorts: such a row has fewer, larger bands.
Bands bands_of(const Table& table, int64_t first, int64_t last, int64_t bytes) {
  int64_t low = INT64_MAX, high = -1;
  for (int64_t row = first; row < last; ++row) {
    if (table.begin[row] == table.begin[row + 1]) continue;
    low = std::min<int64_t>(low, table.sources[table.begin[row]]);
    high = std::max<int64_t>(high, table.sources[table.begin[row + 1] - 1]);
  }
  if (high < low) return {};
  const int64_t count = ((high - low + 1) * bytes + near_bytes() - 1) / near_bytes();
  if (table.begin[last] - table.begin[first] < kVisit * count * (last - first)) return {0, 0, 1, count > 1};
  return {low, (high - low + count) / count, count};
}

// Some rows, and the bands of their senders that they meet one after another.
struct Piece {
  int64_t first, last;
  Bands bands;
};

// Rows that meet a band before the next; they are looked at by kSome.
constexpr int64_t kRows = 4096, kSome = 1024;

// Pieces of rows that cost about as much as kPiece, or of kRows where the senders of kSome rows, of `bytes` each and `all` together,
// do not fit the cache and are read often.
std::vector<Piece> pieces_of(const Table& table, int64_t first, int64_t last, int64_t all, int64_t bytes, int64_t per_synapse,
                             int64_t per_row) {
  std::vector<Piece> pieces;
  const bool far = all > near_bytes();
  for (int64_t next; first < last; first = next) {
    next = far ? std::min(first + kSome, last) : last;
    if (far && bands_of(table, first, next, bytes).count > 1) {
      next = std::min(first + kRows, last);
      pieces.push_back({first, next, bands_of(table, first, next, bytes)});
    } else {
      const auto cuts = cut_rows(table.begin, first, next, per_synapse, per_row);
      for (size_t i = 0; i + 1 < cuts.size(); ++i) pieces.push_back({cuts[i], cuts[i + 1], {}});
    }
  }
  return pieces;
}

// run(), if the numbers are those that this library is for.
template <typename F>
ffi::Error checked(ffi::DataType type, F run) {
  if (type == (sizeof(Number) == 4 ? ffi::F32 : ffi::F64)) return run(), ffi::Error::Success();
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "neurograph: numbers of another type than this library is for");
}

// Of a call with so many buffers; bindings are neither copied nor moved.
template <int kCount>
auto binding() {
  if constexpr (kCount == 0) return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>();
  else return binding<kCount - 1>().template Arg<ffi::AnyBuffer>();
}

}  // namespace

#endif
