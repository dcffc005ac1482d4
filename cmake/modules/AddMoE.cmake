# Wrappers for building moe-mlir against Debian's LLVM/MLIR packages.
#
# Debian's exported static MLIR libraries name the shared libMLIR and libLLVM as
# dependencies. Mixing both in one program registers everything twice, so the
# imported targets are not used. Our libraries are plain archives compiled against
# the headers; each program picks one flavour when it is linked:
#   add_moe_tool     all archives (libMLIR*.a, libLLVM*.a): a program that runs
#                    on any Linux with nothing else installed;
#   add_moe_plugin   the shared libraries, those of the stock mlir-opt.

list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

set(MOE_INCLUDE_DIRS ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
set(MLIR_TABLEGEN_EXE ${LLVM_TOOLS_BINARY_DIR}/mlir-tblgen)
file(GLOB MOE_LLVM_ARCHIVES ${LLVM_LIBRARY_DIR}/libLLVM*.a)
file(GLOB MOE_MLIR_ARCHIVES ${LLVM_LIBRARY_DIR}/libMLIR*.a)
# The C API and test libraries are of no use to a tool and need extras.
list(FILTER MOE_MLIR_ARCHIVES EXCLUDE REGEX "libMLIR(CAPI|Test|.*Python|.*Runner)")
find_program(MOE_LLD NAMES ld.lld-22 ld.lld HINTS ${LLVM_TOOLS_BINARY_DIR} REQUIRED)
set(MOE_LINK_OPTIONS -fuse-ld=lld -Wl,--gc-sections)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC takes the linker's name only, looked up in -B directories first.
  list(APPEND MOE_LINK_OPTIONS -B${LLVM_TOOLS_BINARY_DIR})
endif()

# What LLVM's archives need beside libc, as archives too: a tool must run where
# these are not installed. Options of LLVM that only the shared libraries use
# (libxml2, z3, curl) are not referenced.
set(MOE_STATIC_SYSTEM_LIBS)
foreach(lib z zstd)
  find_library(MOE_STATIC_${lib} NAMES lib${lib}.a REQUIRED)
  list(APPEND MOE_STATIC_SYSTEM_LIBS ${MOE_STATIC_${lib}})
endforeach()

function(moe_target_settings target)
  target_include_directories(${target} PUBLIC ${MOE_INCLUDE_DIRS})
  target_include_directories(${target} SYSTEM PUBLIC ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  separate_arguments(defs UNIX_COMMAND "${LLVM_DEFINITIONS}")
  target_compile_definitions(${target} PUBLIC ${defs})
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-unused-parameter
    -Wno-unused-but-set-parameter -ffunction-sections -fdata-sections
    -fno-exceptions)
endfunction()

# add_moe_library(<name> <sources>... [LINK_LIBS <our libraries>...] [DEPENDS ...])
function(add_moe_library name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  moe_target_settings(${name})
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS})
  # Generated headers of all dialects and passes first: cheap, and no library
  # has to list which of them it includes.
  add_dependencies(${name} moe-headers)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# add_moe_tool(<name> <sources>... LINK_LIBS <our libraries>...): fully static but for libc.
function(add_moe_tool name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS;EXTRA_ARCHIVES" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  moe_target_settings(${name})
  add_dependencies(${name} moe-headers)
  target_link_options(${name} PRIVATE ${MOE_LINK_OPTIONS} -static-libstdc++ -static-libgcc
    $<$<CONFIG:Release,MinSizeRel>:-s>)
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS} -Wl,--start-group
    ${ARG_EXTRA_ARCHIVES} ${MOE_MLIR_ARCHIVES} ${MOE_LLVM_ARCHIVES} -Wl,--end-group
    ${MOE_STATIC_SYSTEM_LIBS} -lpthread -ldl -lm)
endfunction()

# add_moe_shared_compiler(<name> EXPORTS <version script> WHOLE_LIBS <our libraries>...
#   WHOLE_ARCHIVES <archives>... LINK_LIBS ... EXTRA_ARCHIVES ...): a tool as a shared
# library. It has all objects of the WHOLE ones, and of the others what these need.
function(add_moe_shared_compiler name)
  cmake_parse_arguments(ARG "" "EXPORTS" "WHOLE_LIBS;WHOLE_ARCHIVES;LINK_LIBS;EXTRA_ARCHIVES"
    ${ARGN})
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp "// All of it is in archives.\n")
  add_library(${name} SHARED ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  moe_target_settings(${name})
  set_target_properties(${name} PROPERTIES LINK_DEPENDS ${ARG_EXPORTS})
  # Code that runs at exit, and threads, must not lose it: it stays once it is
  # loaded. The build's number is the compiler's identity, for caches.
  target_link_options(${name} PRIVATE ${MOE_LINK_OPTIONS} -static-libstdc++ -static-libgcc
    -Wl,--version-script=${ARG_EXPORTS} -Wl,-Bsymbolic -Wl,-z,nodelete -Wl,-z,defs
    -Wl,--build-id=sha1 $<$<CONFIG:Release,MinSizeRel>:-s>)
  set(whole)
  foreach(library ${ARG_WHOLE_LIBS})
    list(APPEND whole $<TARGET_FILE:${library}>)
  endforeach()
  target_link_libraries(${name} PRIVATE
    -Wl,--whole-archive ${whole} ${ARG_WHOLE_ARCHIVES} -Wl,--no-whole-archive
    ${ARG_LINK_LIBS} ${ARG_WHOLE_LIBS} -Wl,--start-group
    ${ARG_EXTRA_ARCHIVES} ${MOE_MLIR_ARCHIVES} ${MOE_LLVM_ARCHIVES} -Wl,--end-group
    ${MOE_STATIC_SYSTEM_LIBS} -lpthread -ldl -lm)
  add_dependencies(${name} ${ARG_WHOLE_LIBS})
endfunction()

# add_moe_plugin(<name> <sources>... LINK_LIBS <our libraries>...): for mlir-opt of the same package.
function(add_moe_plugin name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS" ${ARGN})
  add_library(${name} MODULE ${ARG_UNPARSED_ARGUMENTS})
  moe_target_settings(${name})
  add_dependencies(${name} moe-headers)
  set_target_properties(${name} PROPERTIES PREFIX "")
  target_link_options(${name} PRIVATE ${MOE_LINK_OPTIONS} -Wl,--exclude-libs,ALL)
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS}
    ${LLVM_LIBRARY_DIR}/libMLIR.so ${LLVM_LIBRARY_DIR}/libLLVM.so)
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
