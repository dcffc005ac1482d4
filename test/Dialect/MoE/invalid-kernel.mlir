// RUN: moe-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{expects 'blocks' (0) to be at least 1}}
module attributes {test.k = #moe.kernel<blocks = 0>} {}

// -----

// expected-error @+1 {{expects 'threads' (100) to be a multiple of 32 from 32 to 1024}}
module attributes {test.k = #moe.kernel<threads = 100>} {}

// -----

// expected-error @+1 {{expects 'threads' (1056) to be a multiple of 32 from 32 to 1024}}
module attributes {test.k = #moe.kernel<threads = 1056>} {}

// -----

// expected-error @+1 {{expects 'threads' (0) to be a multiple of 32 from 32 to 1024}}
module attributes {test.k = #moe.kernel<threads = 0>} {}

// -----

// expected-error @+1 {{expects 'stages' (0) to be from 1 to 32}}
module attributes {test.k = #moe.kernel<stages = 0>} {}

// -----

// expected-error @+1 {{expects 'stages' (33) to be from 1 to 32}}
module attributes {test.k = #moe.kernel<stages = 33>} {}

// -----

// expected-error @+1 {{expects 'team' (3) to be a power of two that divides the number of subgroups (3)}}
module attributes {test.k = #moe.kernel<threads = 96, team = 3>} {}

// -----

// expected-error @+1 {{expects 'team' (32) to be a power of two that divides the number of subgroups (16)}}
module attributes {test.k = #moe.kernel<team = 32>} {}
