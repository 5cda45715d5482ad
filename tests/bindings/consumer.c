/* SPDX-License-Identifier: MIT */
/* Draws samples from a model in C. */
/* [docs:c] */
#include <meanflow_c.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  meanflow_model* model = argc == 2 ? meanflow_load(argv[1]) : NULL;
  if (model == NULL) {
    fprintf(stderr, "%s\n", meanflow_error());
    return 1;
  }
  size_t size = meanflow_sample_size(model);
  float* samples = malloc(4 * size * sizeof(float));
  meanflow_sampling sampling = meanflow_default_sampling();
  sampling.seed = 7;
  if (samples == NULL || !meanflow_sample(model, 4, &sampling, NULL, samples)) {
    fprintf(stderr, "%s\n", meanflow_error());
    return 1;
  }
  printf("%s: 4 samples of %zu numbers, the first one begins with %.3f\n", meanflow_net(model),
         size, (double)samples[0]);
  free(samples);
  meanflow_free(model);
  return 0;
}
/* [docs:end] */
