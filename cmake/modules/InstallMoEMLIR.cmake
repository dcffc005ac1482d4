# What find_package(MoEMLIR) needs of an installation: headers, definitions of
# ops and passes, and the package's configuration. add_moe_library and its
# neighbours install the targets themselves.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(moe_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/MoEMLIR)

foreach(root ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
  foreach(folder moe-mlir moe-mlir-c)
    if(EXISTS ${root}/${folder} OR root STREQUAL ${PROJECT_BINARY_DIR}/include)
      install(DIRECTORY ${root}/${folder}
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev OPTIONAL
        FILES_MATCHING PATTERN "*.h" PATTERN "*.td" PATTERN "*.def" PATTERN "*.inc"
        PATTERN "CMakeFiles" EXCLUDE)
    endif()
  endforeach()
endforeach()

install(EXPORT MoEMLIRTargets NAMESPACE MoE:: DESTINATION ${moe_package_dir} COMPONENT dev)
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/MoEMLIRConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/MoEMLIRConfig.cmake
  INSTALL_DESTINATION ${moe_package_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(
  ${CMAKE_CURRENT_BINARY_DIR}/MoEMLIRConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/MoEMLIRConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/MoEMLIRConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/modules/MoEMLIRLibraries.cmake
  DESTINATION ${moe_package_dir} COMPONENT dev)
