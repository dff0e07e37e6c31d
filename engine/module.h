// Things with parameters. A parameter has a name, as in a state_dict, and keeps its identity while
// an optimizer changes its value.
#pragma once

#include <functional>
#include <list>
#include <string>

#include "engine/var.h"

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

  // For writing in place; a buffer that a backward closure still holds is copied first.
  Tensor& mutable_value() {
    ++version_;
    return var_.value_;
  }
  std::uint64_t version() const { return version_; }  // grows with every change: a cache's key

 private:
  Var var_;
  std::uint64_t version_ = 0;
};

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

  // With the names of nested modules in front: "4.weight_fwd". In the order of registration.
  std::vector<NamedParameter> parameters() const;
  // What belongs to a checkpoint though no gradient changes it: running averages and the like.
  std::vector<NamedTensor> buffers() const;
  // Names that a state_dict from elsewhere may hold and that mean nothing to us.
  std::vector<std::string> ignored_names() const;

 protected:
  Parameter& add_parameter(std::string name, Tensor initial);
  Tensor& add_buffer(std::string name, Tensor initial);
  void add_module(std::string name, Module& module);  // borrowed: the caller keeps it alive
  void ignore_name(std::string name) { ignored_.push_back(std::move(name)); }

 private:
  std::list<std::pair<std::string, Parameter>> parameters_;  // a list: addresses must not move
  std::list<std::pair<std::string, Tensor>> buffers_;
  std::vector<std::pair<std::string, Module*>> modules_;
  std::vector<std::string> ignored_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION
