#include "backflow/engine/module.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

namespace backflow::inline BACKFLOW_PRECISION {

void Parameter::set(Tensor value) {
  if (!value.defined()) fail("parameter", "an undefined value, expected the shape ", shape());
  if (!(value.shape() == shape()))
    fail("parameter", "a value of shape ", value.shape(), ", expected ", shape());
  var_.value_ = std::move(value);
  ++version_;
}

// A handle is enough where somebody else holds the values: writing copies them anyway.
Parameter::ShapeStays::ShapeStays(Tensor& value) : value_(value) {
  const bool writing_copies = value.shared();
  before_ = value;
  if (!writing_copies) before_.mutable_data();
}

Parameter::ShapeStays::~ShapeStays() {
  if (!same()) value_ = before_;
}

void Parameter::ShapeStays::check() const {
  if (!value_.defined())
    fail("parameter", "an update left no value, expected the shape ", before_.shape());
  if (!same())
    fail("parameter", "an update left the shape ", value_.shape(), ", expected ", before_.shape());
}

// What a module and those registered in it hold. A module is met once, under its first name.
struct Module::Contents {
  std::vector<NamedParameter> parameters;
  std::vector<NamedTensor> buffers;
  std::unordered_set<const Module*> met;
};

void Module::check_new_name(const std::string& name) const {
  if (name.empty()) fail("module", "a name is empty, expected one that a checkpoint can use");
  const auto is_it = [&](const auto& named) { return named.first == name; };
  if (std::any_of(parameters_.begin(), parameters_.end(), is_it) ||
      std::any_of(buffers_.begin(), buffers_.end(), is_it))
    fail("module", "the name '", name, "' is taken; a checkpoint needs one for each");
}

Parameter& Module::add_parameter(std::string name, Tensor initial) {
  check_new_name(name);
  return parameters_
      .emplace_back(std::piecewise_construct, std::forward_as_tuple(std::move(name)),
                    std::forward_as_tuple(std::move(initial)))
      .second;
}

Tensor& Module::add_buffer(std::string name, Tensor initial) {
  check_new_name(name);
  return buffers_.emplace_back(std::move(name), std::move(initial)).second;
}

void Module::add_module(std::string name, const Module& module) {
  if (module.contains(*this)) fail("module", "'", name, "' would contain itself");
  modules_.emplace_back(std::move(name), &module);
}

bool Module::contains(const Module& other) const {
  const Contents all = contents();
  return all.met.contains(&other);
}

Module::Contents Module::contents() const {
  Contents all;
  collect("", all);
  return all;
}

void Module::collect(const std::string& prefix, Contents& all) const {
  if (!all.met.insert(this).second) return;
  for (const auto& [name, parameter] : parameters_)
    all.parameters.push_back({prefix + name, const_cast<Parameter*>(&parameter)});
  for (const auto& [name, tensor] : buffers_)
    all.buffers.push_back({prefix + name, const_cast<Tensor*>(&tensor)});
  for (const auto& [name, module] : modules_)
    module->collect(name.empty() ? prefix : prefix + name + ".", all);
}

// Only whole names can tell: "a.b" may be the parameter "b" of "a", or a parameter "a.b".
static void check_names_differ(const std::vector<NamedParameter>& parameters,
                               const std::vector<NamedTensor>& buffers) {
  std::unordered_set<std::string_view> names;
  const auto check = [&](const std::string& name) {
    if (!names.insert(name).second)
      fail("module", "two parameters or buffers have the name '", name,
           "'; a checkpoint needs one for each");
  };
  for (const auto& [name, parameter] : parameters) check(name);
  for (const auto& [name, tensor] : buffers) check(name);
}

std::vector<NamedParameter> Module::parameters() const {
  Contents all = contents();
  check_names_differ(all.parameters, all.buffers);
  return std::move(all.parameters);
}

std::vector<NamedTensor> Module::buffers() const {
  Contents all = contents();
  check_names_differ(all.parameters, all.buffers);
  return std::move(all.buffers);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
