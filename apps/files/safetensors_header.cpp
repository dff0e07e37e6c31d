#include "backflow/apps/files/safetensors_header.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "backflow/apps/files/dtype.h"
#include "backflow/apps/files/json_events.h"
#include "backflow/apps/files/quote.h"

namespace backflow::inline BACKFLOW_PRECISION {

using Bytes = std::uint64_t;
using Entry = SafetensorsFile::Entry;

static constexpr Bytes max_elements = Bytes{1} << 56;  // no product of sizes can overflow
static constexpr const char* metadata_key = "__metadata__";

std::string text_of(const std::vector<Bytes>& sizes) {
  std::string text;
  for (const Bytes size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

void fail_dtype(const std::string& where, const std::string& name, const std::string& found) {
  fail(where, "tensor ", quote(name), " has the dtype ", found, ", expected one of ",
       known_dtypes(), "; convert it before saving");
}

namespace {

// Fails rather than overflow.
Bytes count_elements(const std::string& where, const std::string& name,
                     const std::vector<Bytes>& sizes) {
  Bytes elements = 1, bound = 1;  // the bound is that of the shape with 1 for every 0
  for (const Bytes size : sizes) {
    if (size > max_elements || (size > 0 && bound > max_elements / size))
      fail(where, "tensor ", quote(name), " has a shape of more than ", max_elements,
           " elements, expected one that fits the file; is the header damaged?");
    bound *= std::max<Bytes>(size, 1);
    elements *= size;
  }
  return elements;
}

// Entries and metadata, checked one by one as they are read.
class Header : public JsonHandler {
 public:
  Header(const std::string& where, Bytes data_bytes) : where_(where), data_bytes_(data_bytes) {}

  SafetensorsHeader result;

  void value(JsonKind kind, const std::string& text) override {
    if (depth_ == 0) expect_object(kind);
    if (depth_ == 1) begin_member(kind);
    if (depth_ == 2) in_metadata_ ? add_metadata(kind, text) : set_field(kind, text);
    if (depth_ == 3) add_size(kind, text);
    depth_ += kind == JsonKind::object || kind == JsonKind::array;
  }

  void key(const std::string& text) override { (depth_ == 1 ? name_ : key_) = text; }

  void end() override {
    --depth_;
    if (depth_ == 1 && !in_metadata_) finish_tensor();
  }

 private:
  void expect_object(JsonKind kind) {
    if (kind != JsonKind::object)
      fail(where_, "the header is a JSON ", name_of(kind),
           ", expected an object; is this a safetensors file?");
  }

  void begin_member(JsonKind kind) {
    in_metadata_ = name_ == metadata_key;
    if (in_metadata_ && kind != JsonKind::object)
      fail(where_, metadata_key, " is a JSON ", name_of(kind),
           ", expected an object of strings; save the file again");
    if (!in_metadata_ && kind != JsonKind::object)
      fail(where_, "tensor ", quote(name_), " is described by a JSON ", name_of(kind),
           ", expected an object with dtype, shape and data_offsets; is the header damaged?");
    if (in_metadata_ ? std::exchange(has_metadata_, true) : result.tensors.contains(name_))
      fail_twice(name_);
    entry_ = {};
    offsets_.clear();
    has_dtype_ = has_sizes_ = has_offsets_ = false;
  }

  void add_metadata(JsonKind kind, const std::string& text) {
    if (kind != JsonKind::string)
      fail(where_, metadata_key, " ", quote(key_), " is a JSON ", name_of(kind),
           ", expected a string; save numbers as text");
    if (!result.metadata.emplace(key_, text).second) fail_twice(key_);
  }

  void set_field(JsonKind kind, const std::string& text) {
    list_ = nullptr;
    if (key_ == "dtype") {
      if (std::exchange(has_dtype_, true)) fail_twice(key_);
      if (kind != JsonKind::string) fail_dtype(where_, name_, name_of(kind));
      entry_.dtype = text;
    } else if (key_ == "shape") {
      if (std::exchange(has_sizes_, true)) fail_twice(key_);
      list_ = &entry_.sizes;
    } else if (key_ == "data_offsets") {
      if (std::exchange(has_offsets_, true)) fail_twice(key_);
      list_ = &offsets_;
    } else if (kind == JsonKind::array || kind == JsonKind::object) {
      fail(where_, "tensor ", quote(name_), " has a field ", quote(key_), " that is a JSON ",
           name_of(kind), ", expected dtype, shape and data_offsets alone; is the header damaged?");
    }
    if (list_ && kind != JsonKind::array) fail_list();
  }

  void add_size(JsonKind kind, const std::string& text) {
    Bytes size = 0;
    const char* const end = text.data() + text.size();
    if (kind != JsonKind::whole || std::from_chars(text.data(), end, size).ec != std::errc())
      fail_list();
    list_->push_back(size);
  }

  void finish_tensor() {
    for (const auto& [has, field] :
         {std::pair{has_dtype_, "dtype"}, {has_sizes_, "shape"}, {has_offsets_, "data_offsets"}})
      if (!has)
        fail(where_, "tensor ", quote(name_), " has no ", field,
             ", expected dtype, shape and data_offsets; is the header damaged?");
    check_offsets();
    check_bytes(count_elements(where_, name_, entry_.sizes));
    result.tensors.emplace(std::move(name_), std::move(entry_));
    name_.clear();
  }

  void check_offsets() {
    if (offsets_.size() != 2)
      fail(where_, "tensor ", quote(name_), " has ", offsets_.size(),
           " data_offsets, expected two, begin and end; is the header damaged?");
    entry_.begin = offsets_[0], entry_.end = offsets_[1];
    if (entry_.begin > entry_.end)
      fail(where_, "tensor ", quote(name_), " begins at byte ", entry_.begin,
           " of the data and ends at byte ", entry_.end,
           ", expected begin <= end; is the header damaged?");
    if (entry_.end > data_bytes_)
      fail(where_, "tensor ", quote(name_), " ends at byte ", entry_.end,
           " of the data, expected at most ", data_bytes_,
           " as the file holds no more; was it copied whole?");
  }

  void check_bytes(Bytes elements) {
    const Dtype* const dtype = find_dtype(entry_.dtype);
    if (!dtype) return;  // of a size that we do not know
    const Bytes expected = (elements * dtype->bits + 7) / 8;
    if (entry_.end - entry_.begin != expected)
      fail(where_, "tensor ", quote(name_), " has ", entry_.end - entry_.begin,
           " bytes of data, expected ", expected, " for the shape ", text_of(entry_.sizes),
           "; is the header damaged?");
  }

  [[noreturn]] void fail_list() const {
    fail(where_, "tensor ", quote(name_), " has a ", key_,
         " of the wrong type, expected an array of non-negative integers; is the header damaged?");
  }
  [[noreturn]] void fail_twice(const std::string& name) const {
    fail(where_, "the name ", quote(name), " occurs twice in the header, expected once; ",
         "the file was not written by a safetensors library");
  }

  const std::string& where_;
  Bytes data_bytes_;
  int depth_ = 0;  // of objects and arrays that are open
  bool in_metadata_ = false, has_metadata_ = false;
  std::string name_, key_;  // a tensor's, or of the metadata; and within that
  Entry entry_;
  std::vector<Bytes> offsets_;
  bool has_dtype_ = false, has_sizes_ = false, has_offsets_ = false;
  std::vector<Bytes>* list_ = nullptr;  // that is being read
};

}  // namespace

SafetensorsHeader parse_safetensors_header(const std::string& where, std::string_view text,
                                           Bytes data_bytes) {
  Header header(where, data_bytes);
  const auto error = read_json(text, header);
  if (error && error->number_beyond)
    fail(where, "the header holds a number beyond any size, expected shapes and offsets; ",
         "is the header damaged?");
  if (error)
    fail(where, "the header is not valid JSON at its byte ", error->byte,
         ", expected a safetensors header; is this a safetensors file?");
  return std::move(header.result);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
