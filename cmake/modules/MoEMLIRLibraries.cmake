# The LLVM and MLIR that the libraries of moe-mlir are compiled and linked with,
# as targets. The build and the installed package both read this file, after
# find_package(MLIR).
#
#   MoE::MLIRHeaders   include folders and definitions
#   MoE::MLIRStatic    all of MLIR and LLVM as archives: a program that runs on
#                      any Linux with nothing else installed
#   MoE::MLIRShared    libMLIR.so and libLLVM.so: a plug-in of a program that
#                      links them, such as Debian's mlir-opt
#   MoE::MLIR          the archives, or, for a target whose property
#                      MOE_SHARED_MLIR is on, the shared libraries
#   MoE::LLD           the ELF linker as a library, where it is installed
#
# Debian's exported MLIR targets are not used: its static libraries name the
# shared libMLIR and libLLVM as dependencies. Both in one program register
# everything twice.

if(TARGET MoE::MLIRHeaders)
  return()
endif()

add_library(MoE::MLIRHeaders INTERFACE IMPORTED GLOBAL)
target_include_directories(MoE::MLIRHeaders SYSTEM INTERFACE
  ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
separate_arguments(moe_llvm_definitions UNIX_COMMAND "${LLVM_DEFINITIONS}")
target_compile_definitions(MoE::MLIRHeaders INTERFACE ${moe_llvm_definitions})

file(GLOB MOE_LLVM_ARCHIVES ${LLVM_LIBRARY_DIR}/libLLVM*.a)
file(GLOB MOE_MLIR_ARCHIVES ${LLVM_LIBRARY_DIR}/libMLIR*.a)
# The C API and test libraries are of no use to a tool and need extras.
list(FILTER MOE_MLIR_ARCHIVES EXCLUDE REGEX "libMLIR(CAPI|Test|.*Python|.*Runner)")

# What LLVM's archives need beside libc, as archives too: a tool must run where
# these are not installed. Options of LLVM that only the shared libraries use
# (libxml2, z3, curl) are not referenced.
set(MOE_STATIC_SYSTEM_LIBS)
foreach(lib z zstd)
  find_library(MOE_STATIC_${lib} NAMES lib${lib}.a lib${lib}_static.a)
  mark_as_advanced(MOE_STATIC_${lib})
  if(MOE_STATIC_${lib})
    list(APPEND MOE_STATIC_SYSTEM_LIBS ${MOE_STATIC_${lib}})
  else()
    list(APPEND MOE_STATIC_SYSTEM_LIBS ${lib})
  endif()
endforeach()

add_library(MoE::MLIRStatic INTERFACE IMPORTED GLOBAL)
list(JOIN MOE_MLIR_ARCHIVES "," moe_archives)
list(JOIN MOE_LLVM_ARCHIVES "," moe_llvm_archives)
string(APPEND moe_archives ",${moe_llvm_archives}")
target_link_libraries(MoE::MLIRStatic INTERFACE
  "$<LINK_GROUP:RESCAN,${moe_archives}>" ${MOE_STATIC_SYSTEM_LIBS} pthread dl m)

add_library(MoE::MLIRShared INTERFACE IMPORTED GLOBAL)
target_link_libraries(MoE::MLIRShared INTERFACE
  ${LLVM_LIBRARY_DIR}/libMLIR.so ${LLVM_LIBRARY_DIR}/libLLVM.so)

add_library(MoE::MLIR INTERFACE IMPORTED GLOBAL)
target_link_libraries(MoE::MLIR INTERFACE
  $<IF:$<BOOL:$<TARGET_PROPERTY:MOE_SHARED_MLIR>>,MoE::MLIRShared,MoE::MLIRStatic>)

add_library(MoE::LLD INTERFACE IMPORTED GLOBAL)
if(EXISTS ${LLVM_LIBRARY_DIR}/liblldELF.a)
  target_link_libraries(MoE::LLD INTERFACE
    ${LLVM_LIBRARY_DIR}/liblldELF.a ${LLVM_LIBRARY_DIR}/liblldCommon.a)
endif()
