//===- CollOps.td - coll dialect operations ----------------*- tablegen -*-===//
//
// Part of the moe-mlir project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_MLIR_DIALECT_COLL_IR_COLLOPS_TD
#define MOE_MLIR_DIALECT_COLL_IR_COLLOPS_TD

include "moe-mlir/Dialect/Coll/IR/CollBase.td"

def Coll_AllGatherOp : Coll_Op<"all_gather", [
    MemoryEffects<[MemRead<Coll_Messages>, MemWrite<Coll_Messages>]>,
    AllElementTypesMatch<["send", "recv"]>]> {
  let summary = "brings a buffer of every rank to every rank";
  let description = [{
    Brings `send` of every rank to `recv`, in rank order: with N rows in `send`,
    those of rank r become rows `r * N` to `(r + 1) * N - 1` of `recv`.

    Example, with four ranks:

    ```mlir
    %counts = memref.alloc() : memref<1x8xi32>
    %all = memref.alloc() : memref<4x8xi32>
    coll.all_gather %counts, %all : memref<1x8xi32> to memref<4x8xi32>
    ```

    **Constraints:**
    - coll_c1: both buffers are statically shaped, have contiguous rows and the
      same element type, of 8, 16, 32 or 64 bits.
    - coll_c2: `recv` has the row shape of `send`, and a multiple of its rows: as
      many times as there are ranks.
    - The two do not overlap.
  }];
  let arguments = (ins Arg<Coll_StaticBuffer, "", [MemRead]>:$send,
    Arg<Coll_StaticBuffer, "", [MemWrite]>:$recv);
  let assemblyFormat = [{
    $send `,` $recv attr-dict `:` type($send) `to` type($recv)
  }];
  let hasVerifier = 1;
}

def Coll_AllToAllOp : Coll_Op<"all_to_all", [
    MemoryEffects<[MemRead<Coll_Messages>, MemWrite<Coll_Messages>]>,
    AllElementTypesMatch<["send", "recv"]>]> {
  let summary = "sends a part of a buffer to every rank";
  let description = [{
    The leading extent of both buffers is the number of ranks. Row p of `send`
    goes to rank p, and row s of `recv` comes from rank s.

    Example, with four ranks:

    ```mlir
    %mine = memref.alloc() : memref<4x2xi32>
    %theirs = memref.alloc() : memref<4x2xi32>
    coll.all_to_all %mine, %theirs : memref<4x2xi32> to memref<4x2xi32>
    ```

    **Constraints:**
    - coll_c1: both buffers are statically shaped, have contiguous rows and the
      same element type, of 8, 16, 32 or 64 bits.
    - coll_c3: `recv` has the shape of `send`.
    - The two do not overlap.
  }];
  let arguments = (ins Arg<Coll_StaticBuffer, "", [MemRead]>:$send,
    Arg<Coll_StaticBuffer, "", [MemWrite]>:$recv);
  let assemblyFormat = [{
    $send `,` $recv attr-dict `:` type($send) `to` type($recv)
  }];
  let hasVerifier = 1;
}

def Coll_ExchangeOp : Coll_Op<"exchange", [
    MemoryEffects<[MemRead<Coll_Messages>, MemWrite<Coll_Messages>]>,
    RecursiveMemoryEffects, NoRegionArguments, NoTerminator, SingleBlock]> {
  let summary = "exchanges rows of several buffers at once";
  let description = [{
    The `coll.rows` in its region happen as if at the same time: a transport may
    send and receive their rows in any order, and merge what goes to one peer.

    Example: see `coll.rows`.

    **Constraints:**
    - coll_c4: the region has `coll.rows` only, one at least, all with tables of
      the same extent.
    - No buffer that is received in overlaps another buffer of the exchange.
  }];
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict";
  let hasRegionVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [
    OpBuilder<(ins "::llvm::function_ref<void(::mlir::OpBuilder &)>":$body)>];
}

def Coll_RowsOp : Coll_Op<"rows", [
    HasParent<"ExchangeOp">, AllElementTypesMatch<["send", "recv"]>,
    AllTypesMatch<["send_starts", "send_counts", "recv_starts",
                   "recv_counts"]>]> {
  let summary = "rows of a pair of buffers in an exchange";
  let description = [{
    To rank p go `send_counts[p]` rows of `send`, from row `send_starts[p]` on.
    From rank p come `recv_counts[p]` rows, which become those of `recv` from row
    `recv_starts[p]` on. Rows of `recv` that nothing is received in stay as they
    are.

    The tables have an entry per rank and are in host memory whatever the target:
    who sends and who receives has to know how much. What a rank sends and what
    its peer expects has to be equal (coll_s4); a transport that sees that it is
    not reports `invalid count`. A count of 0 sends no message.

    Example, with four ranks:

    ```mlir
    func.func @rows(%x: memref<?x64xbf16>, %recv: memref<512x64xbf16>,
                    %starts: memref<4xi32>, %counts: memref<4xi32>,
                    %to: memref<4xi32>, %expected: memref<4xi32>) {
      coll.exchange {
        coll.rows %x[%starts, %counts] to %recv[%to, %expected]
          : memref<?x64xbf16> to memref<512x64xbf16> by memref<4xi32>
      }
      return
    }
    ```

    **Constraints:**
    - coll_c5: both buffers have contiguous rows, the same element type, of 8, 16,
      32 or 64 bits, and, below the leading dimension, the same static shape.
    - coll_c6: the four tables are `memref<Rxi32>`, of the same type, R ranks.
    - Starts and counts are not negative and name rows that the buffer has.
  }];
  let arguments = (ins
    Arg<Coll_Buffer, "", [MemRead]>:$send,
    Arg<Coll_Table, "", [MemRead]>:$send_starts,
    Arg<Coll_Table, "", [MemRead]>:$send_counts,
    Arg<Coll_Buffer, "", [MemWrite]>:$recv,
    Arg<Coll_Table, "", [MemRead]>:$recv_starts,
    Arg<Coll_Table, "", [MemRead]>:$recv_counts);
  let assemblyFormat = [{
    $send `[` $send_starts `,` $send_counts `]` `to`
    $recv `[` $recv_starts `,` $recv_counts `]` attr-dict
    `:` type($send) `to` type($recv) `by` type($send_starts)
  }];
  let hasVerifier = 1;
}

def Coll_ReadOp : Coll_Op<"read", [
    MemoryEffects<[MemRead, MemWrite]>, AllTypesMatch<["table", "result"]>]> {
  let summary = "a table of the device, in host memory";
  let description = [{
    Waits until what fills `table` is done, and gives what is in it as memory of
    the host, where the tables of `coll.rows` have to be (coll_s7). The result is
    the function's until that returns. On a target without a device it is `table`
    itself.

    An error that a kernel has recorded on this rank ends the entry here: with
    what it has counted, nothing is to be exchanged.

    Example, with four ranks:

    ```mlir
    func.func @read(%table: memref<4x4xi32>) {
      %host = coll.read %table : memref<4x4xi32>
      return
    }
    ```

    **Constraints:**
    - coll_c1: `table` is statically shaped, has contiguous rows, and elements of
      8, 16, 32 or 64 bits.
  }];
  let arguments = (ins Arg<Coll_StaticBuffer, "", [MemRead]>:$table);
  let results = (outs Coll_StaticBuffer:$result);
  let assemblyFormat = "$table attr-dict `:` type($table)";
}

def Coll_CopyTableOp : Coll_Op<"copy_table", [
    AllShapesMatch<["table", "target"]>]> {
  let summary = "copies a table in host memory";
  let description = [{
    Copies `table` to `target`. Both are memory of the host on every target, as
    the result of `coll.read` is; they do not overlap.

    Example, with four ranks:

    ```mlir
    func.func @keep(%table: memref<4x4xi32>, %kept: memref<4x4xi32>) {
      %host = coll.read %table : memref<4x4xi32>
      coll.copy_table %host to %kept : memref<4x4xi32> to memref<4x4xi32>
      return
    }
    ```

    **Constraints:**
    - coll_c9: both are statically shaped, of the same shape, have contiguous rows
      and elements of type i32.
  }];
  let arguments = (ins Arg<Coll_HostTables, "", [MemRead]>:$table,
    Arg<Coll_HostTables, "", [MemWrite]>:$target);
  let assemblyFormat = [{
    $table `to` $target attr-dict `:` type($table) `to` type($target)
  }];
}

def Coll_ClearTableOp : Coll_Op<"clear_table"> {
  let summary = "makes a table in host memory name no rows";
  let description = [{
    Stores -1 in each element of `table`, which is memory of the host on every
    target. `coll.table_end` refuses such a table.

    Example, with four ranks:

    ```mlir
    func.func @clear(%table: memref<4x4xi32>) {
      coll.clear_table %table : memref<4x4xi32>
      return
    }
    ```

    **Constraints:**
    - coll_c9: `table` is statically shaped, has contiguous rows and elements of
      type i32.
  }];
  let arguments = (ins Arg<Coll_HostTables, "", [MemWrite]>:$table);
  let assemblyFormat = "$table attr-dict `:` type($table)";
}

def Coll_TableEndOp : Coll_Op<"table_end", [
    MemoryEffects<[MemRead, MemWrite]>, AllTypesMatch<["starts", "counts"]>]> {
  let summary = "checks a table, and returns the end of its rows";
  let description = [{
    Returns how many rows a buffer has to have so that it has all rows that the
    table names: the largest sum of a start and its count. Starts and counts that
    are negative, and rows from `limit` on, are a run-time error
    (`invalid count`), which ends the entry (coll_s11).

    Example, with four ranks, and rows of a buffer of 512:

    ```mlir
    func.func @end(%starts: memref<4xi32>, %counts: memref<4xi32>) -> index {
      %limit = arith.constant 512 : index
      %end = coll.table_end %starts[%counts] limit %limit : memref<4xi32>
      return %end : index
    }
    ```

    **Constraints:**
    - coll_c6: the two are `memref<Rxi32>`, of the same type, R ranks.
  }];
  let arguments = (ins Arg<Coll_Table, "", [MemRead]>:$starts,
    Arg<Coll_Table, "", [MemRead]>:$counts, Index:$limit);
  let results = (outs Index:$end);
  let assemblyFormat = [{
    $starts `[` $counts `]` `limit` $limit attr-dict `:` type($starts)
  }];
}

def Coll_TableOp : Coll_Op<"table", [Pure]> {
  let summary = "a table that is known when it is compiled";
  let description = [{
    A table for `coll.rows` whose numbers do not depend on data. It is host memory
    on every target, and nobody writes to it. Exchanges that have no other tables
    can be captured and replayed by a device (coll_s9).

    Example, with four ranks, and room for 16 rows of each:

    ```mlir
    %starts = coll.table [0, 16, 32, 48] : memref<4xi32>
    %counts = coll.table [16, 16, 16, 16] : memref<4xi32>
    ```

    **Constraints:**
    - coll_c7: as many numbers as the table has elements, none of them negative.
  }];
  let arguments = (ins DenseI32ArrayAttr:$numbers);
  let results = (outs Coll_Table:$table);
  let assemblyFormat = "$numbers attr-dict `:` type($table)";
  let hasVerifier = 1;
}

#endif // MOE_MLIR_DIALECT_COLL_IR_COLLOPS_TD
