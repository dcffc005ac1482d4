# The Python package, complete in one folder: modules, the two libraries and
# moe-run. A wheel has that folder at its root; elsewhere PYTHONPATH names
# <prefix>/lib/python.

if(SKBUILD)
  set(MOE_PYTHON_INSTALL_DIR .)
else()
  set(MOE_PYTHON_INSTALL_DIR ${CMAKE_INSTALL_LIBDIR}/python)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/python/moe_mlir
    DESTINATION ${MOE_PYTHON_INSTALL_DIR} COMPONENT python
    FILES_MATCHING PATTERN "*.py" PATTERN "*.pyi" PATTERN "py.typed"
    PATTERN "__pycache__" EXCLUDE)
endif()
set(folder ${MOE_PYTHON_INSTALL_DIR}/moe_mlir)

foreach(module _runtime _compiler)
  if(TARGET ${module})
    install(TARGETS ${module} LIBRARY DESTINATION ${folder} COMPONENT python)
    install(FILES ${MOE_PYTHON_DIR}/moe_mlir/${module}.pyi
      DESTINATION ${folder} COMPONENT python)
  endif()
endforeach()
install(FILES ${MOE_PYTHON_DIR}/moe_mlir/_version.py DESTINATION ${folder} COMPONENT python)
foreach(library MoERuntime MoECompiler)
  if(TARGET ${library})
    install(TARGETS ${library} LIBRARY DESTINATION ${folder}/lib COMPONENT python)
  endif()
endforeach()
install(TARGETS moe-run RUNTIME DESTINATION ${folder}/bin COMPONENT python)
