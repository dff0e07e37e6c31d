// A tensor as NumPy prints an array: in brackets, the points of all numbers below one another,
// lines of at most 75 columns, and of more than 1000 elements only the first and the last three
// along each axis. The rules are those of FloatingFormat and _formatArray in
// numpy/core/arrayprint.py.
#include <charconv>
#include <cmath>
#include <functional>
#include <vector>

#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Parts = std::array<std::string, 3>;  // "-12", ".5" and "e+10"

// With so many digits behind the point, but for zeros at the end. By default with those that tell x
// from every other Real, at most eight.
Parts parts_of(Real x, std::chars_format format, int digits = -1) {
  if (!std::isfinite(x)) return {x != x ? "nan" : x < 0 ? "-inf" : "inf"};
  char buffer[64];  // a number of more than 8 digits before its point is printed with an exponent
  std::string text(buffer, std::to_chars(buffer, std::end(buffer), x, format).ptr);
  if (digits < 0 && text.substr(0, text.find('e')).size() > text.find('.') + 1 + 8) digits = 8;
  if (digits >= 0)
    text.assign(buffer, std::to_chars(buffer, std::end(buffer), x, format, digits).ptr);
  const std::string number = text.substr(0, text.find('e'));
  const std::string before = number.substr(0, number.find('.'));
  std::string behind = number.substr(before.size());
  behind.resize(behind.find_last_not_of('0') + 1);
  return {before, behind.empty() ? "." : behind, text.substr(number.size())};
}

// The one format of all numbers of a tensor.
class Format {
 public:
  explicit Format(const std::vector<Real>& numbers) {
    Real least = INFINITY, most = 0;
    for (Real x : numbers)
      if (x != 0 && std::isfinite(x))
        least = std::min(least, std::abs(x)), most = std::max(most, std::abs(x));
    if (most >= Real(1e8) || least < Real(1e-4) || most / least > 1000)
      format_ = std::chars_format::scientific;
    for (Real x : numbers) {
      const Parts parts = parts_of(x, format_);
      if (!std::isfinite(x)) width_ = std::max(width_, parts[0].size());
      for (int k = 0; k < 3 && std::isfinite(x); ++k)
        widths_[k] = std::max(widths_[k], parts[k].size());
    }
    width_ = std::max(width_, widths_[0] + widths_[1] + widths_[2]);
  }

  std::string operator()(Real x) const {
    const bool scientific = format_ == std::chars_format::scientific;
    const int digits = scientific ? static_cast<int>(widths_[1]) - 1 : -1;
    auto [before, behind, exponent] = parts_of(x, format_, digits);
    if (std::isfinite(x)) {
      behind.resize(widths_[1], scientific ? '0' : ' ');
      if (exponent.size() < widths_[2]) exponent.insert(2, widths_[2] - exponent.size(), '0');
    }
    const std::string text = before + behind + exponent;
    return std::string(width_ - text.size(), ' ') + text;
  }

 private:
  std::chars_format format_ = std::chars_format::fixed;
  std::array<std::size_t, 3> widths_{};  // of the parts
  std::size_t width_ = 0;                // of all together
};

// What begins at element number `first`, from this axis on.
std::string array(const Tensor& x, int axis, Index first,
                  const std::function<std::string(Real)>& element) {
  if (axis == x.rank()) return element(x[first]);
  const int inner_axes = x.rank() - axis - 1;
  const std::string indent(axis + 1, ' '), end_of_line(std::max(1, inner_axes), '\n');
  const Index n = x.size(axis), step = strides_of(x.shape())[axis];
  std::string lines, line = indent;
  for (Index i = 0; i < n; ++i) {
    const bool gap = x.size() > 1000 && n > 6 && i == 3;
    if (gap) i = n - 4;
    const std::string word = gap ? "..." : array(x, axis + 1, first + i * step, element);
    if (i > 0 && (inner_axes > 0 || line.size() + word.size() > 74u - axis)) {
      line.resize(line.find_last_not_of(' ') + 1);
      lines += std::exchange(line, indent) + end_of_line;
    }
    line += word + (i + 1 < n ? " " : "");
  }
  return '[' + (lines + line).substr(indent.size()) + ']';
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Tensor& x) {
  if (!x.defined()) return out << "undefined";
  if (x.size() == 0) return out << "[]";
  std::vector<Real> shown;
  array(x, 0, 0, [&](Real number) { return shown.push_back(number), ""; });
  return out << array(x, 0, 0, Format(shown));
}

}  // namespace backflow::inline BACKFLOW_PRECISION
