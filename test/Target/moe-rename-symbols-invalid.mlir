// RUN: moe-opt %s -split-input-file -verify-diagnostics --moe-rename-symbols

// expected-error @+1 {{'func.func' op expects the name of an entry to be UTF-8 text without a zero byte}}
func.func @"a\00b"() { return }

// -----

// expected-error @+1 {{'func.func' op expects the name of an entry to be UTF-8 text without a zero byte}}
func.func @"a\FFb"() { return }

// -----

// expected-error @+1 {{'func.func' op expects an entry to have a name}}
func.func @""() { return }
