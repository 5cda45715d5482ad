/* SPDX-License-Identifier: MIT */
/* Sampling from models of meanflow in C, and in any language that calls C.
 *
 * A model is what meanflow::save_model wrote: net, settings, weights and the scaling of the data in
 * one file. Numbers are float, tensors row-major and contiguous with the batch first, images with
 * channels last. A function that can fail returns 0 or NULL when it did, writes nothing then, and
 * meanflow_error() says why. A model may be used by several threads at a time. */
#ifndef MEANFLOW_C_H
#define MEANFLOW_C_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MEANFLOW_C_API __attribute__((visibility("default")))
#else
#define MEANFLOW_C_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded model. */
typedef struct meanflow_model meanflow_model;

/* How samples are drawn. Begin with meanflow_default_sampling(): later versions may have more. */
typedef struct meanflow_sampling {
  size_t steps;    /* from noise to data: 1 */
  double guidance; /* at sampling, for nets trained with dropped conditions: 1 for none */
  uint64_t seed;   /* of the noise: 0 */
  size_t batch;    /* the most samples in memory at a time: 4096 */
} meanflow_sampling;

/* What the net is told about each row; NULL for what it is not. */
typedef struct meanflow_condition {
  const int32_t* labels;     /* (rows) */
  const float* values;       /* (rows, width): width from meanflow_condition_width */
  const float* augmentation; /* (rows, width) */
  const float* omega;        /* (rows) */
  const float* t_min;        /* (rows) */
  const float* t_max;        /* (rows) */
} meanflow_condition;

/* "0.1.0" */
MEANFLOW_C_API const char* meanflow_version(void);

/* One sentence about the calling thread's last failure; "" before the first. Valid until the next
 * call that fails. */
MEANFLOW_C_API const char* meanflow_error(void);

/* How many threads work in each call from now on, whichever thread calls; 0 for all processors. */
MEANFLOW_C_API void meanflow_set_threads(int count);

/* NULL if the file is damaged, no model, or one of a net that this library does not have. */
MEANFLOW_C_API meanflow_model* meanflow_load(const char* path);
MEANFLOW_C_API void meanflow_free(meanflow_model* model);

/* The kind of the net, as "Mlp<Silu>", and its settings as JSON; valid as long as the model. */
MEANFLOW_C_API const char* meanflow_net(const meanflow_model* model);
MEANFLOW_C_API const char* meanflow_settings(const meanflow_model* model);
MEANFLOW_C_API size_t meanflow_parameter_count(const meanflow_model* model);

/* The shape of a sample: the number of extents, and each. */
MEANFLOW_C_API size_t meanflow_sample_rank(const meanflow_model* model);
MEANFLOW_C_API size_t meanflow_sample_extent(const meanflow_model* model, size_t axis);
/* The numbers of a sample: the product of the extents. */
MEANFLOW_C_API size_t meanflow_sample_size(const meanflow_model* model);
/* The numbers of a row of `values` or `augmentation`, 0 if the net takes none. */
MEANFLOW_C_API size_t meanflow_condition_width(const meanflow_model* model, const char* part);

MEANFLOW_C_API meanflow_sampling meanflow_default_sampling(void);

/* Writes `count` samples (count, ...) in the units of the data. Sample i depends on the seed and on i
 * alone, up to rounding. `sampling` and `condition` may be NULL. Returns 1, or 0 when it failed. */
MEANFLOW_C_API int meanflow_sample(const meanflow_model* model, size_t count,
                                   const meanflow_sampling* sampling,
                                   const meanflow_condition* condition, float* samples);

/* u(z, r, t), (rows, ...): z (rows, ...), r and t (rows), in the units that the net sees. */
MEANFLOW_C_API int meanflow_velocity(const meanflow_model* model, size_t rows, const float* z,
                                     const float* r, const float* t,
                                     const meanflow_condition* condition, float* u);

/* u, and its derivative du along (dz, dr, dt), exact and in one evaluation. */
MEANFLOW_C_API int meanflow_jvp(const meanflow_model* model, size_t rows, const float* z,
                                const float* r, const float* t, const float* dz, const float* dr,
                                const float* dt, const meanflow_condition* condition, float* u,
                                float* du);

#ifdef __cplusplus
}
#endif

#endif
