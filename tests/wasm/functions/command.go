// A WASI preview 1 command for tests: each path does what its name says.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	fmt.Print("Content-Type: text/plain\nX-Made-By: go\n\n")
	switch os.Getenv("PATH_INFO") {
	case "/echo":
		io.Copy(os.Stdout, os.Stdin)
	case "/trap":
		panic("as asked")
	case "/loop":
		for {
		}
	case "/memory":
		var kept [][]byte
		for {
			kept = append(kept, make([]byte, 1<<20))
			clear(kept[len(kept)-1])
		}
	case "/flood":
		for {
			fmt.Fprintln(os.Stderr, "out of the flood")
		}
	case "/headers":
		fmt.Print(os.Getenv("REQUEST_METHOD"), " ", os.Getenv("HTTP_X_ASKED"), " ", os.Getenv("QUERY_STRING"))
	default:
		fmt.Fprintln(os.Stderr, "said by go")
		fmt.Print(os.Getenv("GREETING"), " from go")
	}
}
