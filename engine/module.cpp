#include "engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

Parameter& Module::add_parameter(std::string name, Tensor initial) {
  return parameters_
      .emplace_back(std::piecewise_construct, std::forward_as_tuple(std::move(name)),
                    std::forward_as_tuple(std::move(initial)))
      .second;
}

Tensor& Module::add_buffer(std::string name, Tensor initial) {
  return buffers_.emplace_back(std::move(name), std::move(initial)).second;
}

void Module::add_module(std::string name, Module& module) {
  modules_.emplace_back(std::move(name), &module);
}

std::vector<NamedParameter> Module::parameters() const {
  std::vector<NamedParameter> all;
  for (const auto& [name, parameter] : parameters_)
    all.push_back({name, const_cast<Parameter*>(&parameter)});
  for (const auto& [prefix, module] : modules_)
    for (const auto& [name, parameter] : module->parameters())
      all.push_back({prefix + "." + name, parameter});
  return all;
}

std::vector<NamedTensor> Module::buffers() const {
  std::vector<NamedTensor> all;
  for (const auto& [name, tensor] : buffers_) all.push_back({name, const_cast<Tensor*>(&tensor)});
  for (const auto& [prefix, module] : modules_)
    for (const auto& [name, tensor] : module->buffers())
      all.push_back({prefix + "." + name, tensor});
  return all;
}

std::vector<std::string> Module::ignored_names() const {
  std::vector<std::string> all = ignored_;
  for (const auto& [prefix, module] : modules_)
    for (const std::string& name : module->ignored_names()) all.push_back(prefix + "." + name);
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
