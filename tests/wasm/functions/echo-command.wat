;; A WASI preview 1 command that writes what it reads to standard output, and a line to standard error.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 64) "said by the program\n")
  (func $put (param $descriptor i32) (param $at i32) (param $length i32)
    (loop $again
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $length))
      (drop (call $write (local.get $descriptor) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
      (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 8))))
      (br_if $again (local.get $length))))
  (func (export "_start")
    (call $put (i32.const 2) (i32.const 64) (i32.const 20))
    (block $end (loop $next
      (i32.store (i32.const 16) (i32.const 4096))
      (i32.store (i32.const 20) (i32.const 65536))
      (br_if $end (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
      (br_if $end (i32.eqz (i32.load (i32.const 24))))
      (call $put (i32.const 1) (i32.const 4096) (i32.load (i32.const 24)))
      (br $next)))))
