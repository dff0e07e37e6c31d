// The functions of LAPACK that ops use. It is inside OpenBLAS, which installs no header for it.
// Internal to ops: their sources include it, no header does.
//
// Matrices are column-major: where one of ours is handed over as it is, LAPACK sees its transpose.
// Whoever calls one of these calls prepare_blas() first.
#pragma once

extern "C" {
// P A = L U by partial pivoting, in place; `info` is the first pivot that is 0, counted from 1.
void dgetrf_(const int* m, const int* n, double* a, const int* lda, int* pivots, int* info);
// From those factors, the inverse in place and, for right-hand sides b, A^-1 b or A^-T b in place.
void dgetri_(const int* n, double* a, const int* lda, const int* pivots, double* work,
             const int* lwork, int* info);
void dgetrs_(const char* mode, const int* n, const int* columns, const double* a, const int* lda,
             const int* pivots, double* b, const int* ldb, int* info);
// Exchanges rows as a factorization did.
void dlaswp_(const int* n, double* a, const int* lda, const int* first, const int* last,
             const int* pivots, const int* increment);
// The same three in float.
void sgetrf_(const int* m, const int* n, float* a, const int* lda, int* pivots, int* info);
void sgetri_(const int* n, float* a, const int* lda, const int* pivots, float* work,
             const int* lwork, int* info);
void slaswp_(const int* n, float* a, const int* lda, const int* first, const int* last,
             const int* pivots, const int* increment);
// A = Q R in place, with Q as reflections; and Q itself from those.
void dgeqrf_(const int* m, const int* n, double* a, const int* lda, double* tau, double* work,
             const int* lwork, int* info);
void dorgqr_(const int* m, const int* n, const int* k, double* a, const int* lda, const double* tau,
             double* work, const int* lwork, int* info);
}
