// A function in Go: counts visits in the key/value store, and greets by name.
//
// Build, with TinyGo 0.34 or newer:
//
//	go get -tool go.bytecodealliance.org/cmd/wit-bindgen-go
//	go tool wit-bindgen-go generate --world function --out internal skerry-function.wit
//	tinygo build -target=wasip2 --wit-package skerry-function.wit --wit-world function -o function.wasm
package main

import (
	"fmt"
	"net/url"
	"os"
	"strconv"

	"go.bytecodealliance.org/cm"

	"example.com/greeter/internal/skerry/function/handler"
	"example.com/greeter/internal/skerry/function/kv"
	"example.com/greeter/internal/skerry/function/log"
	"example.com/greeter/internal/skerry/function/types"
)

type result = cm.Result[handler.ResponseShape, types.Response, string]

func init() {
	handler.Exports.Handle = handle
}

func handle(request types.Request) result {
	address, err := url.Parse(request.URL)
	if err != nil {
		return cm.Err[result](err.Error())
	}
	name := address.Query().Get("name")
	if name == "" {
		name = "world"
	}
	visits, err := count()
	if err != nil {
		return cm.Err[result](err.Error())
	}
	log.Write(log.LevelInfo, fmt.Sprintf("visit %d", visits))
	greeting := os.Getenv("GREETING")
	if greeting == "" {
		greeting = "Hello"
	}
	return cm.OK[result](types.Response{
		Status:  200,
		Headers: types.Headers(cm.ToList([]cm.Tuple[string, string]{{F0: "content-type", F1: "text/plain"}})),
		Body:    cm.ToList([]uint8(fmt.Sprintf("%s, %s! Visit %d.\n", greeting, name, visits))),
	})
}

func count() (int, error) {
	kept, problem, failed := kv.Get("visits").Result()
	if failed {
		return 0, fmt.Errorf("%s", problem)
	}
	visits := 0
	if value := kept.Some(); value != nil {
		visits, _ = strconv.Atoi(string(value.Slice()))
	}
	visits++
	data := cm.ToList([]uint8(strconv.Itoa(visits)))
	if _, problem, failed := kv.Put("visits", data, cm.None[uint32]()).Result(); failed {
		return 0, fmt.Errorf("%s", problem)
	}
	return visits, nil
}

func main() {}
