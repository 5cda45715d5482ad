# SPDX-License-Identifier: MIT
"""conan create . --build=missing; with -o "meanflow/*:dependencies=system" the libraries below come
from the system (apt) and not from Conan. Random123 always does: Conan's centre has no recipe."""
from conan import ConanFile
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.system.package_manager import Apt


class MeanFlow(ConanFile):
    name = "meanflow"
    version = "0.1.0"
    description = "One-step generative models (Mean Flows) in header-only C++20"
    license = "MIT"
    topics = ("generative-models", "mean-flow", "automatic-differentiation", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"dependencies": ["conan", "system"], "with_onednn": [True, False], "with_onnx": [True, False]}
    default_options = {"dependencies": "conan", "with_onednn": True, "with_onnx": False}
    exports_sources = "CMakeLists.txt", "cmake/*", "include/*", "LICENSE"

    def layout(self):
        cmake_layout(self)

    def requirements(self):
        if self.options.dependencies == "system":
            return
        self.requires("eigen/3.4.0", transitive_headers=True)
        self.requires("xsimd/8.1.0", transitive_headers=True)
        self.requires("xtensor/0.24.3", transitive_headers=True)
        self.requires("xtensor-blas/0.20.0", transitive_headers=True)
        self.requires("nanoflann/[>=1.4.3 <2]", transitive_headers=True)
        self.requires("nlohmann_json/3.11.2", transitive_headers=True)
        self.requires("libpng/[>=1.6 <2]", transitive_headers=True, transitive_libs=True)
        self.requires("libjpeg-turbo/[>=2.1 <4]", transitive_headers=True, transitive_libs=True)
        self.requires("zlib/[>=1.2.11 <2]", transitive_headers=True, transitive_libs=True)
        self.requires("openblas/[>=0.3.20 <1]", transitive_headers=True, transitive_libs=True)
        if self.options.with_onednn:
            self.requires("onednn/[>=2.6]", transitive_headers=True, transitive_libs=True)
        if self.options.with_onnx:
            self.requires("protozero/[>=1.7 <2]", transitive_headers=True)

    def system_requirements(self):
        packages = ["librandom123-dev"]
        if self.options.dependencies == "system":
            packages += ["libeigen3-dev", "libxtensor-dev", "libxtensor-blas-dev", "libxsimd-dev",
                         "libopenblas-openmp-dev", "libnanoflann-dev", "nlohmann-json3-dev",
                         "libpng-dev", "libjpeg-dev", "zlib1g-dev"]
            if self.options.with_onednn:
                packages.append("libdnnl-dev")
            if self.options.with_onnx:
                packages.append("libprotozero-dev")
        Apt(self).install(packages)

    # Nothing is compiled here, and the CMake target asks for C++20 itself: whatever compiler.cppstd is,
    # a program that links meanflow::meanflow is compiled as C++20 or newer.
    def package_id(self):
        self.info.clear()

    def generate(self):
        toolchain = CMakeToolchain(self)
        for part in ("TESTING", "EXAMPLES", "BENCHMARKS"):
            toolchain.cache_variables[f"MEANFLOW_BUILD_{part}"] = False
        toolchain.cache_variables["MEANFLOW_INSTALL"] = True
        toolchain.cache_variables["MEANFLOW_WITH_ONEDNN"] = "AUTO" if self.options.with_onednn else "OFF"
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        CMake(self).configure()

    def package(self):
        CMake(self).install()

    def package_info(self):
        # The package brings its own meanflow-config.cmake, the one that every other way installs.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = ["lib/cmake/meanflow"]
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
