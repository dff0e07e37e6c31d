// A module's parameters and buffers in a safetensors file, under their names: what torch calls a
// state_dict. Files go both ways: torch's `safetensors.torch.load_file` reads ours, and we read
// what its `save_file` writes where the names are torch's, as those of an Mlp are.
//
// (A training has more to keep than its model: apps/model/checkpoint.h.)
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "backflow/apps/files/safetensors.h"
#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Atomic, with checksums; the same values make the same file. Fails for values that are not finite,
// which nobody could load again.
void save_module(const std::filesystem::path& path, const Module& module);

// Fails unless the file has every parameter and buffer in its shape (axes of size 1 do not count),
// finite, and nothing else. One line names all that is wrong; the module changes only if nothing
// is. Values are converted as by SafetensorsFile::read.
void load_module(const std::filesystem::path& path, Module& module);

// ---- The parts, for files that hold more than a module ----------------------------------------

// Adds the module's tensors to the file's. `where` names the file in messages.
void add_tensors(TensorFile& file, const std::string& where, const Module& module);
// Fails if there is one of this name.
void add_tensor(TensorFile& file, const std::string& where, const std::string& name,
                const Tensor& tensor);

// A finite tensor of this shape, but for axes of size 1. Fails, naming it, if there is none.
Tensor read_tensor(const SafetensorsFile& file, const std::string& where, const std::string& name,
                   const Shape& shape);

// What load_tensors() lets pass, and how it speaks of the rest.
struct Leniency {
  bool may_lack_buffers = false;
  std::function<bool(const std::string& name)> is_known;   // tensors beside the module's
  std::string unknown = "which the module does not have";  // of any other tensor
};
// load_module() of a file that is open already.
void load_tensors(const SafetensorsFile& file, const std::string& where, const Module& module,
                  const Leniency& leniency = {});

}  // namespace backflow::inline BACKFLOW_PRECISION
