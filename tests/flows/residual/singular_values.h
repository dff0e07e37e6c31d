// The singular values of a matrix, largest first, by one-sided Jacobi rotations in long double: an
// independent way to them, for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline std::vector<double> singular_values(const Tensor& W) {
  const Index rows = W.size(0), columns = W.size(1);
  std::vector<std::vector<long double>> column(columns, std::vector<long double>(rows));
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < columns; ++j) column[j][i] = W[i * columns + j];
  const auto dot = [&](Index j, Index k) {
    long double sum = 0;
    for (Index i = 0; i < rows; ++i) sum += column[j][i] * column[k][i];
    return sum;
  };
  long double all = 0;  // the sum of all squares
  for (Index j = 0; j < columns; ++j) all += dot(j, j);
  for (bool rotated = true; rotated;) {  // until all columns are orthogonal
    rotated = false;
    for (Index j = 0; j < columns; ++j)
      for (Index k = j + 1; k < columns; ++k) {
        const long double a = dot(j, j), b = dot(k, k), c = dot(j, k);
        if (std::abs(c) <= 1e-16L * std::sqrt(a * b) || std::abs(c) <= 1e-19L * all) continue;
        rotated = true;
        const long double zeta = (b - a) / (2 * c);
        const long double t = std::copysign(1.0L, zeta) / (std::abs(zeta) + std::hypot(1.0L, zeta));
        const long double cosine = 1 / std::hypot(1.0L, t), sine = t * cosine;
        for (Index i = 0; i < rows; ++i) {
          const long double x = column[j][i], y = column[k][i];
          column[j][i] = cosine * x - sine * y;
          column[k][i] = sine * x + cosine * y;
        }
      }
  }
  std::vector<double> values;
  for (Index j = 0; j < columns; ++j) values.push_back(static_cast<double>(std::sqrt(dot(j, j))));
  std::sort(values.rbegin(), values.rend());
  return values;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
