# Functions that add libraries, tools and plug-ins of moe-mlir.
#
# The libraries are plain archives compiled against the headers of MLIR. Each
# program picks the flavour of MLIR when it is linked (MoEMLIRLibraries.cmake):
#   add_moe_tool     the archives
#   add_moe_plugin   the shared libraries, those of the stock mlir-opt

list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include(MoEMLIRLibraries)
include(GNUInstallDirs)

set(MOE_INCLUDE_DIRS ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
set(MLIR_TABLEGEN_EXE ${LLVM_TOOLS_BINARY_DIR}/mlir-tblgen)
find_program(MOE_LLD NAMES ld.lld-22 ld.lld HINTS ${LLVM_TOOLS_BINARY_DIR} REQUIRED)
set(MOE_LINK_OPTIONS -fuse-ld=lld -Wl,--gc-sections)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC takes the linker's name only, looked up in -B directories first.
  list(APPEND MOE_LINK_OPTIONS -B${LLVM_TOOLS_BINARY_DIR})
endif()
# A debug build keeps its symbols.
set(MOE_STRIP_OPTION "$<$<CONFIG:Release,MinSizeRel>:-s>")

function(moe_target_settings target)
  target_include_directories(${target} PUBLIC
    "$<BUILD_INTERFACE:${MOE_INCLUDE_DIRS}>"
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  target_link_libraries(${target} PUBLIC MoE::MLIRHeaders)
  target_compile_features(${target} PUBLIC cxx_std_17)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter
    -Wno-unused-but-set-parameter -ffunction-sections -fdata-sections
    -fno-exceptions)
endfunction()

# What most libraries include. Not our own headers: a change of one of these would
# compile everything anew.
moe_precompile_headers(MoEPrecompiledMLIR
  LINK_LIBS MoE::MLIRHeaders
  HEADERS
    llvm/ADT/TypeSwitch.h
    llvm/Support/FormatVariadic.h
    mlir/Conversion/LLVMCommon/MemRefBuilder.h
    mlir/Conversion/LLVMCommon/Pattern.h
    mlir/Conversion/LLVMCommon/TypeConverter.h
    mlir/Dialect/Arith/IR/Arith.h
    mlir/Dialect/ControlFlow/IR/ControlFlowOps.h
    mlir/Dialect/Func/IR/FuncOps.h
    mlir/Dialect/GPU/IR/GPUDialect.h
    mlir/Dialect/LLVMIR/LLVMDialect.h
    mlir/Dialect/LLVMIR/NVVMDialect.h
    mlir/Dialect/Linalg/IR/Linalg.h
    mlir/Dialect/Math/IR/Math.h
    mlir/Dialect/MemRef/IR/MemRef.h
    mlir/Dialect/SCF/IR/SCF.h
    mlir/Dialect/Shard/IR/ShardOps.h
    mlir/Dialect/Tensor/IR/Tensor.h
    mlir/Dialect/Vector/IR/VectorOps.h
    mlir/IR/Builders.h
    mlir/IR/BuiltinOps.h
    mlir/IR/PatternMatch.h
    mlir/Pass/PassManager.h
    mlir/Transforms/DialectConversion.h
    mlir/Transforms/GreedyPatternRewriteDriver.h)
if(TARGET MoEPrecompiledMLIR)
  moe_target_settings(MoEPrecompiledMLIR)
endif()

# add_moe_library(<name> <sources>... [LINK_LIBS <libraries>...] [DEPENDS ...]):
# installed and exported; others link MoEIR as MoE::IR, here and once installed.
function(add_moe_library name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  moe_target_settings(${name})
  moe_use_precompiled_headers(${name} MoEPrecompiledMLIR)
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS} INTERFACE MoE::MLIR)
  # Generated headers of all dialects and passes first: cheap, and no library
  # has to list which of them it includes.
  add_dependencies(${name} moe-headers)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  string(REGEX REPLACE "^MoE" "" short ${name})
  add_library(MoE::${short} ALIAS ${name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${short})
  if(MOE_INSTALL)
    install(TARGETS ${name} EXPORT MoEMLIRTargets
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
  endif()
endfunction()

# add_moe_tool(<name> <sources>... LINK_LIBS <libraries>... [INSTALL]): fully
# static but for libc.
function(add_moe_tool name)
  cmake_parse_arguments(ARG "INSTALL" "" "LINK_LIBS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  moe_target_settings(${name})
  add_dependencies(${name} moe-headers)
  target_link_options(${name} PRIVATE ${MOE_LINK_OPTIONS} -static-libstdc++ -static-libgcc
    ${MOE_STRIP_OPTION})
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS} MoE::MLIR)
  if(ARG_INSTALL AND MOE_INSTALL)
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT compiler)
  endif()
endfunction()

# add_moe_shared_compiler(<name> EXPORTS <version script> WHOLE_LIBS <our libraries>...
#   WHOLE_ARCHIVES <archives>... LINK_LIBS ...): a tool as a shared library. It has
# all objects of the WHOLE ones, and of the others what these need.
function(add_moe_shared_compiler name)
  cmake_parse_arguments(ARG "" "EXPORTS" "WHOLE_LIBS;WHOLE_ARCHIVES;LINK_LIBS" ${ARGN})
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp "// All of it is in archives.\n")
  add_library(${name} SHARED ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  moe_target_settings(${name})
  set_target_properties(${name} PROPERTIES LINK_DEPENDS ${ARG_EXPORTS})
  # Code that runs at exit, and threads, must not lose it: it stays once it is
  # loaded. The build's number is the compiler's identity, for caches. libgcc_s
  # stays shared, since its archive asks for glibc 2.35.
  target_link_options(${name} PRIVATE ${MOE_LINK_OPTIONS} -static-libstdc++
    -Wl,--version-script=${ARG_EXPORTS} -Wl,-Bsymbolic -Wl,-z,nodelete -Wl,-z,defs
    -Wl,--build-id=sha1 ${MOE_STRIP_OPTION})
  set(whole)
  foreach(library ${ARG_WHOLE_LIBS})
    list(APPEND whole $<TARGET_FILE:${library}>)
  endforeach()
  target_link_libraries(${name} PRIVATE MoEOldGlibc
    -Wl,--whole-archive ${whole} ${ARG_WHOLE_ARCHIVES} -Wl,--no-whole-archive
    ${ARG_LINK_LIBS} ${ARG_WHOLE_LIBS} MoE::MLIR)
  add_dependencies(${name} ${ARG_WHOLE_LIBS})
endfunction()

# add_moe_plugin(<name> <sources>... LINK_LIBS <libraries>...): for mlir-opt of
# the same package.
function(add_moe_plugin name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS" ${ARGN})
  add_library(${name} MODULE ${ARG_UNPARSED_ARGUMENTS})
  moe_target_settings(${name})
  add_dependencies(${name} moe-headers)
  set_target_properties(${name} PROPERTIES PREFIX "" MOE_SHARED_MLIR ON)
  target_link_options(${name} PRIVATE ${MOE_LINK_OPTIONS} -Wl,--exclude-libs,ALL)
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS} MoE::MLIR)
  if(MOE_INSTALL)
    install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT compiler)
  endif()
endfunction()

# Headers generated by mlir-tblgen, collected in one target.
add_custom_target(moe-headers)

# moe_tablegen(<td> <output> <mlir-tblgen args>...): one generated file.
function(moe_tablegen td output)
  set(LLVM_TARGET_DEFINITIONS ${td})
  mlir_tablegen(${output} ${ARGN} EXTRA_INCLUDES ${PROJECT_SOURCE_DIR}/include
    ${MLIR_INCLUDE_DIRS})
  string(MAKE_C_IDENTIFIER "${CMAKE_CURRENT_BINARY_DIR}/${output}" id)
  add_custom_target(tablegen${id} DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/${output})
  add_dependencies(moe-headers tablegen${id})
endfunction()
