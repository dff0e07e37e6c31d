// Things with parameters. A parameter has a name, as in a state_dict, and keeps its identity and
// its shape while an optimizer changes its value.
#pragma once

#include <functional>
#include <list>
#include <span>
#include <string>
#include <type_traits>

#include "backflow/engine/var.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Parameter {
 public:
  explicit Parameter(Tensor initial) : var_(Var::leaf(std::move(initial))) {}
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  operator const Var&() const { return var_; }
  const Var& var() const { return var_; }
  const Tensor& value() const { return var_.value(); }
  const Shape& shape() const { return var_.shape(); }

  // Another value; fails if its shape is not the parameter's.
  void set(Tensor value);

  // Changes the value in place; a buffer that a backward closure still holds is copied first.
  //   p.update([](std::span<Real> values) { values[0] = 1; });
  //   p.update([](Tensor& value) { value.mutable_data()[0] = 1; });
  // The second form fails, and leaves the value as it was before, if f leaves another shape; this
  // costs a copy. What f wrote before it threw stays. Evaluate nothing that depends on the
  // parameter while f writes: the version grows when f has ended. And keep no pointer to the values
  // beyond f: nothing could see what is written through it.
  template <class F>
  void update(F f);

  std::uint64_t version() const { return version_; }  // grows with every change: a cache's key

 private:
  struct VersionGrows {  // in the end, however that comes
    std::uint64_t& version;
    ~VersionGrows() { ++version; }
  };
  class ShapeStays;

  Var var_;
  std::uint64_t version_ = 0;
};

// Keeps the values until a function has left their shape as it was.
class Parameter::ShapeStays {
 public:
  explicit ShapeStays(Tensor& value);
  ~ShapeStays();  // puts the values back if the shape is another one
  ShapeStays(const ShapeStays&) = delete;
  ShapeStays& operator=(const ShapeStays&) = delete;
  void check() const;  // fails if it is

 private:
  bool same() const { return value_.defined() && value_.shape() == before_.shape(); }
  Tensor& value_;
  Tensor before_;
};

template <class F>
void Parameter::update(F f) {
  const VersionGrows grows{version_};
  if constexpr (std::is_invocable_v<F&, Tensor&>) {
    static_assert(!std::is_invocable_v<F&, Tensor>,
                  "f(Tensor&) is expected: f changes the value, and not a copy of it");
    const ShapeStays shape(var_.value_);
    f(var_.value_);
    shape.check();
  } else {
    Real* values = var_.value_.mutable_data();
    f(std::span<Real>(values, static_cast<std::size_t>(var_.size())));
  }
}

struct NamedParameter {
  std::string name;
  Parameter* parameter;
};

struct NamedTensor {
  std::string name;
  Tensor* tensor;
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // With the names of nested modules in front: "4.weight_fwd". In the order of registration. A
  // module that was registered several times counts once, under its first name. These two fail when
  // one name means two parameters or buffers: in a checkpoint one would overwrite the other.
  std::vector<NamedParameter> parameters() const;
  // What belongs to a checkpoint though no gradient changes it: running averages and the like.
  std::vector<NamedTensor> buffers() const;

 protected:
  // Names are not empty, and differ from those of the module's other parameters and buffers.
  Parameter& add_parameter(std::string name, Tensor initial);
  Tensor& add_buffer(std::string name, Tensor initial);
  // Borrowed: the caller keeps it alive. With an empty name what is in it keeps its names. Fails
  // for a module that contains this one, or is it.
  void add_module(std::string name, const Module& module);
  // The nested ones, in the order of registration.
  const std::vector<std::pair<std::string, const Module*>>& modules() const { return modules_; }

 private:
  struct Contents;
  Contents contents() const;
  void collect(const std::string& prefix, Contents& all) const;
  void check_new_name(const std::string& name) const;
  bool contains(const Module& other) const;

  std::list<std::pair<std::string, Parameter>> parameters_;  // a list: addresses must not move
  std::list<std::pair<std::string, Tensor>> buffers_;
  std::vector<std::pair<std::string, const Module*>> modules_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
