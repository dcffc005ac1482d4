# Headers that are parsed once per build and not once per file: most of the time
# that a file of the compiler takes to compile is spent in those of MLIR.
#
# Off in the debug preset, where a file that lacks an include does not compile.
option(MOE_PRECOMPILE_HEADERS "Parse the headers of MLIR once"
  ${PROJECT_IS_TOP_LEVEL})

# moe_precompile_headers(<name> HEADERS <headers>... [LINK_LIBS <libraries>...])
# makes <name>, which targets with the same compile options take their headers
# from with moe_use_precompiled_headers.
function(moe_precompile_headers name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "HEADERS;LINK_LIBS")
  if(NOT MOE_PRECOMPILE_HEADERS)
    return()
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  if(NOT EXISTS ${source})
    file(WRITE ${source} "// Only headers.\n")
  endif()
  add_library(${name} OBJECT ${source})
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS})
  list(TRANSFORM ARG_HEADERS REPLACE "(.+)" "<\\1>")
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  # ccache keeps what is the same each time it is made.
  target_compile_options(${name} PRIVATE
    "$<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>")
endfunction()

# moe_use_precompiled_headers(<target> <name>)
function(moe_use_precompiled_headers target name)
  if(TARGET ${name})
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

# moe_set_compiler_cache(): ccache where it is found. It has to be told that a
# precompiled header stands for what it was made from.
macro(moe_set_compiler_cache)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
  endif()
endmacro()
