// Verdict's Rego toolchain: Open Policy Agent's compiler, tester, formatter, evaluator and built-in functions
// behind two calls, built as a WASI reactor for Verdict's own host.
//
// It is not a command and has no files, network, clock of its own choosing or environment: what an operation
// needs comes in as JSON, and what it found goes out as JSON.
//
// The protocol. The host asks `alloc` for room, writes the request there, and calls `run` (an operation, as
// JSON) or `builtin` (one built-in function, see builtins.go). Both return the address of the answer; `outlen`
// is its length in bytes. The answer is valid until the next call. Calls never overlap.
package main

import (
	"encoding/json"
	"fmt"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/version"
)

var (
	in  []byte
	out []byte
)

//go:wasmexport alloc
func alloc(n int32) unsafe.Pointer {
	if cap(in) < int(n) || cap(in) > 1<<20 {
		in = make([]byte, max(n, 1))
	}
	in = in[:n]
	return unsafe.Pointer(unsafe.SliceData(in))
}

//go:wasmexport outlen
func outlen() int32 { return int32(len(out)) }

// operations is the closed list of what `run` does.
var operations = map[string]func(json.RawMessage) (any, error){
	"about":   about,
	"build":   operation(build),
	"check":   operation(check),
	"eval":    operation(eval),
	"filters": operation(filters),
	"format":  operation(formatFiles),
	"test":    operation(test),
	"yaml":    operation(yamlToJSON),
}

// about names OPA's version and every built-in function that has an implementation, with its declaration.
func about(json.RawMessage) (any, error) {
	names := []string{}
	declarations := []*ast.Builtin{}
	for _, declared := range capabilities.Builtins {
		if topdown.GetBuiltin(declared.Name) != nil {
			names = append(names, declared.Name)
			declarations = append(declarations, declared)
		}
	}
	return map[string]any{"opa": version.Version, "builtins": names, "declarations": declarations}, nil
}

func operation[Request any](f func(Request) (any, error)) func(json.RawMessage) (any, error) {
	return func(raw json.RawMessage) (any, error) {
		var request Request
		if err := json.Unmarshal(raw, &request); err != nil {
			return nil, err
		}
		return f(request)
	}
}

// run answers {"ok": …} or {"failures": [{code, message, location?}]}.
//
//go:wasmexport run
func run() unsafe.Pointer {
	out = answer(in)
	return unsafe.Pointer(unsafe.SliceData(out))
}

func answer(request []byte) (bytes []byte) {
	defer func() {
		if r := recover(); r != nil {
			bytes = failure(fmt.Errorf("the toolchain failed: %v", r))
		}
	}()
	var call struct {
		Op      string          `json:"op"`
		Request json.RawMessage `json:"request"`
	}
	if err := json.Unmarshal(request, &call); err != nil {
		return failure(err)
	}
	f, ok := operations[call.Op]
	if !ok {
		return failure(fmt.Errorf("unknown operation %q", call.Op))
	}
	result, err := f(call.Request)
	if err != nil {
		return failure(err)
	}
	bytes, err = json.Marshal(map[string]any{"ok": result})
	if err != nil {
		return failure(err)
	}
	return bytes
}

func failure(err error) []byte {
	bytes, _ := json.Marshal(map[string]any{"failures": describe(err)})
	return bytes
}

func main() {}
