# Python extension modules, and the package as the build tree has it.
#
# nanobind in split mode: an extension is built against the stable ABI of Python
# 3.11 and finds nanobind's own code at run time in the module nanobind_backend (on
# PyPI: nanobind-backend), so one file serves every Python from 3.11 on. Linked
# mode would need one extension for 3.11 and another one for 3.12 and later.
#
# MOE_PYTHON_FOUND says whether extensions can be built here; MOE_PYTHON_MISSING why
# not. build/python is what PYTHONPATH has to name.

option(MOE_ENABLE_PYTHON "Build the Python package where Python's headers are" ON)
set(MOE_PYTHON_DIR ${PROJECT_BINARY_DIR}/python)
set(MOE_PYTHON_ABI 3.11)
set(MOE_PYTHON_FOUND FALSE)
set(MOE_PYTHON_MISSING "MOE_ENABLE_PYTHON is off")

if(MOE_ENABLE_PYTHON)
  if(NOT Python_EXECUTABLE AND MOE_TEST_PYTHON)
    set(Python_EXECUTABLE ${MOE_TEST_PYTHON})
  endif()
  find_package(Python ${MOE_PYTHON_ABI} QUIET
    COMPONENTS Interpreter Development.Module OPTIONAL_COMPONENTS Development.SABIModule)
  if(NOT Python_Interpreter_FOUND)
    set(MOE_PYTHON_MISSING "there is no Python ${MOE_PYTHON_ABI} or later")
  elseif(NOT Python_Development.Module_FOUND)
    set(MOE_PYTHON_MISSING
      "${Python_EXECUTABLE} has no development headers (Debian: python3-dev)")
  else()
    execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
      OUTPUT_VARIABLE nanobindDir OUTPUT_STRIP_TRAILING_WHITESPACE
      RESULT_VARIABLE nanobindMissing ERROR_QUIET)
    if(nanobindMissing)
      set(MOE_PYTHON_MISSING "${Python_EXECUTABLE} has no package nanobind")
    else()
      find_package(nanobind 3.1 CONFIG REQUIRED PATHS ${nanobindDir} NO_DEFAULT_PATH)
      set(MOE_PYTHON_FOUND TRUE)
    endif()
  endif()
endif()

# moe_python_backend(): nanobind's code for the Python of this build, in the build
# tree alone, where that Python does not have it installed.
function(moe_python_backend)
  execute_process(COMMAND ${Python_EXECUTABLE} -I -c "import nanobind_backend"
    RESULT_VARIABLE missing OUTPUT_QUIET ERROR_QUIET)
  if(missing AND NOT TARGET nanobind_backend)
    nanobind_add_backend(nanobind_backend NB_SUPPRESS_WARNINGS)
    set_target_properties(nanobind_backend PROPERTIES
      LIBRARY_OUTPUT_DIRECTORY ${MOE_PYTHON_DIR})
  endif()
endfunction()

# moe_python_package(): build/python/moe_mlir has a link to every file below
# python/moe_mlir. Folders are real ones, since what the build makes stands beside
# the sources. The target runs with each build, so that new files appear and links
# to files that are gone disappear. Its target is moe-python-files.
function(moe_python_package)
  add_custom_target(moe-python-files ALL
    COMMAND ${CMAKE_COMMAND} -DFROM=${CMAKE_CURRENT_SOURCE_DIR}/moe_mlir
      -DTO=${MOE_PYTHON_DIR}/moe_mlir -P ${PROJECT_SOURCE_DIR}/cmake/modules/LinkTree.cmake
    COMMENT "Linking the sources of the Python package into build/python" VERBATIM)
endfunction()

# add_moe_python_module(<name> <sources>... [LINK_LIBS <targets>...]): the extension
# moe_mlir.<name>, as build/python/moe_mlir/<name>.abi3.so with its type stub
# beside it. It finds libraries of the project in lib/ beside itself, as a wheel
# has them, or in the lib/ of the build tree. libstdc++ stays shared: exceptions
# cross from nanobind's backend into the extension.
function(add_moe_python_module name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS" ${ARGN})
  moe_python_backend()
  nanobind_add_module(${name} BACKEND_MODULE nanobind_backend
    STABLE_ABI_VERSION ${MOE_PYTHON_ABI} NOMINSIZE NB_SUPPRESS_WARNINGS
    ${ARG_UNPARSED_ARGUMENTS})
  target_compile_options(${name} PRIVATE -fexceptions -frtti
    -Wall -Wextra -Wno-missing-field-initializers)
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS})
  set_target_properties(${name} PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY ${MOE_PYTHON_DIR}/moe_mlir
    BUILD_RPATH "$ORIGIN/lib"
    BUILD_RPATH_USE_ORIGIN ON
    INSTALL_RPATH "$ORIGIN/lib")
  if(TARGET nanobind_backend)
    add_dependencies(${name} nanobind_backend)
  endif()
  nanobind_add_stub(${name}-stub MODULE moe_mlir.${name}
    OUTPUT ${MOE_PYTHON_DIR}/moe_mlir/${name}.pyi
    PYTHON_PATH ${MOE_PYTHON_DIR} DEPENDS ${name} moe-python-files)
endfunction()

# moe_python_test(<name> <folder> [TIMEOUT <seconds>] [COST <seconds>]
#                 [ENVIRONMENT <name=value>...] [PYTHON <command>...]):
# pytest on python/tests/<folder>, with the package of the build tree and the Python
# of the build, or a command that runs another one. Tests find programs in
# MOE_BIN_DIR and the driver that interprets PTX in MOE_STANDIN_DRIVER_DIR. The exit
# status 77 says that they were skipped. A test that hangs prints its stacks, since
# CTest ends a suite without a word about it.
function(moe_python_test name folder)
  cmake_parse_arguments(ARG "" "TIMEOUT;COST" "ENVIRONMENT;PYTHON" ${ARGN})
  if(NOT MOE_ENABLE_TESTS)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 900)
  endif()
  if(NOT ARG_COST)
    set(ARG_COST 0)
  endif()
  if(NOT ARG_PYTHON)
    set(ARG_PYTHON ${Python_EXECUTABLE})
  endif()
  add_test(NAME ${name}
    COMMAND ${ARG_PYTHON} -m pytest -q -rs -p no:cacheprovider
      -o faulthandler_timeout=200 ${CMAKE_CURRENT_SOURCE_DIR}/tests/${folder}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} COST ${ARG_COST}
    LABELS python SKIP_RETURN_CODE 77
    ENVIRONMENT "PYTHONPATH=${MOE_PYTHON_DIR};PYTHONDONTWRITEBYTECODE=1;MOE_BIN_DIR=${PROJECT_BINARY_DIR}/bin;MOE_TEST_ARTIFACT_DIR=${PROJECT_BINARY_DIR}/runtime/tests/artifacts;MOE_STANDIN_DRIVER_DIR=$<TARGET_FILE_DIR:moe-standin-driver>;${ARG_ENVIRONMENT}")
endfunction()
