# Installs the runtime for programs that embed it: find_package(MoERuntime), or
# pkg-config moe-runtime. Components: runtime (library, moe-run), dev.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/MoERuntime)
set(dlpack_dir ${CMAKE_INSTALL_INCLUDEDIR}/moe-runtime/third-party)

target_include_directories(MoERuntime INTERFACE
  "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR};${dlpack_dir}>")
install(TARGETS MoERuntime EXPORT MoERuntimeTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime)
install(TARGETS moe-run RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)

# The C headers; the C++ ones are the runtime's own.
install(FILES include/moe-runtime/ArtifactABI.h include/moe-runtime/Runtime.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/moe-runtime COMPONENT dev)
# Runtime.h includes it, and a program may not have one of its own.
install(FILES ${DLPACK_INCLUDE_DIR}/dlpack/dlpack.h
  DESTINATION ${dlpack_dir}/dlpack COMPONENT dev)

install(EXPORT MoERuntimeTargets NAMESPACE MoE:: DESTINATION ${package_dir}
  COMPONENT dev)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/MoERuntimeConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/MoERuntimeConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(
  ${CMAKE_CURRENT_BINARY_DIR}/MoERuntimeConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/MoERuntimeConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/MoERuntimeConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT dev)

# The file finds its prefix from where it lies, so an installation can be moved.
file(RELATIVE_PATH MOE_PC_PREFIX
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${CMAKE_CURRENT_LIST_DIR}/moe-runtime.pc.in
  ${CMAKE_CURRENT_BINARY_DIR}/moe-runtime.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/moe-runtime.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
