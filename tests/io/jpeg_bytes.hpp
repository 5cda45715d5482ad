// SPDX-License-Identifier: MIT
/// \file
/// JPEG files of every kind, made by libjpeg.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include <jpeglib.h>

#include <meanflow/io/image.hpp>

namespace meanflow_test {

struct JpegSettings {
  int quality = 95;
  bool progressive = false;
  bool arithmetic = false;
  bool one_scan_per_channel = false;
  bool full_colour = false;           ///< colours of as many values as there are pixels
  J_COLOR_SPACE store = JCS_UNKNOWN;  ///< what a colour picture is stored as; YCbCr unless set
};

/// The bytes of a JPEG file of the picture. Four channels are stored as CMYK.
[[nodiscard]] inline std::string jpeg_bytes(const meanflow::Image& image,
                                            const JpegSettings& settings = {}) {
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};  // ends the program on an error, which is a mistake of the test
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = static_cast<JDIMENSION>(image.width);
  encoder.image_height = static_cast<JDIMENSION>(image.height);
  encoder.input_components = static_cast<int>(image.channels);
  encoder.in_color_space = image.channels == 1   ? JCS_GRAYSCALE
                           : image.channels == 3 ? JCS_RGB
                                                 : JCS_CMYK;
  jpeg_set_defaults(&encoder);
  if (settings.store != JCS_UNKNOWN) jpeg_set_colorspace(&encoder, settings.store);
  if (settings.full_colour)
    encoder.comp_info[0].h_samp_factor = encoder.comp_info[0].v_samp_factor = 1;
  jpeg_set_quality(&encoder, settings.quality, TRUE);
  encoder.arith_code = settings.arithmetic ? TRUE : FALSE;
  if (settings.progressive) jpeg_simple_progression(&encoder);
  std::vector<jpeg_scan_info> scans;
  for (int c = 0; c < encoder.num_components; ++c) scans.push_back({1, {c}, 0, 63, 0, 0});
  if (settings.one_scan_per_channel) {
    encoder.scan_info = scans.data();
    encoder.num_scans = static_cast<int>(scans.size());
  }
  jpeg_start_compress(&encoder, TRUE);
  std::vector<unsigned char> pixels(image.pixels.begin(), image.pixels.end());
  for (std::size_t y = 0; y < image.height; ++y) {
    JSAMPROW row = pixels.data() + y * image.width * image.channels;
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  std::string text(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return text;
}

}  // namespace meanflow_test
