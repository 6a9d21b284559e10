// OPA's built-in functions, one call at a time, for policies that run as WebAssembly in the host.
//
// A request is the function's name, a NUL byte and its arguments, separated by commas, in the form of values.go,
// so that sets stay sets and numbers keep their digits. An answer is one letter and a text:
//
//	V  the result, in the same form
//	S  the result, a string, as its bytes
//	U  undefined
//	P  what print() was given, as text
//	E  an error that makes the call undefined unless errors are strict
//	H  an error that ends the evaluation
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
)

// evaluation is what calls of one evaluation share.
var evaluation = struct {
	cache            builtins.Cache
	nondeterministic builtins.NDBCache
	time             *ast.Term
	runtime          *ast.Term
}{runtime: ast.ObjectTerm()}

// OPA's cache of other values that outlive an evaluation is not used, because it changes answers: in OPA 1.22.2
// strings.any_prefix_match finds nothing in a collection whose entry was evicted, and graphql.schema_is_valid takes
// the string "{}" for the object {} once it has seen the object.
var (
	capabilities = ast.CapabilitiesForThisVersion()
	interQuery   = cache.NewInterQueryCache(cacheLimits())
)

// cacheLimits bounds what http.send keeps from one evaluation to the next.
func cacheLimits() *cache.Config {
	config, err := cache.ParseCachingConfig([]byte(`{"inter_query_builtin_cache": {"max_size_bytes": 16777216}}`))
	if err != nil {
		panic(err)
	}
	return config
}

// begin starts an evaluation at an instant in nanoseconds since 1970; what earlier calls remembered is gone.
//
//go:wasmexport begin
func begin(timeNs int64) {
	evaluation.cache = builtins.Cache{}
	evaluation.nondeterministic = builtins.NDBCache{}
	evaluation.time = ast.NewTerm(ast.Number(json.Number(strconv.FormatInt(timeNs, 10))))
}

// setRuntime takes what opa.runtime() answers, as JSON, from the request buffer.
//
//go:wasmexport set_runtime
func setRuntime() int32 {
	value, err := ast.ValueFromReader(strings.NewReader(string(in)))
	if err != nil {
		return 1
	}
	evaluation.runtime = ast.NewTerm(value)
	return 0
}

//go:wasmexport builtin
func builtin() unsafe.Pointer {
	out = invoke(string(in), out[:0])
	return unsafe.Pointer(unsafe.SliceData(out))
}

func invoke(request string, answer []byte) (result []byte) {
	defer func() {
		if r := recover(); r != nil {
			result = fmt.Appendf(nil, "H%v", r)
		}
	}()
	name, arguments, _ := strings.Cut(request, "\x00")
	operands, err := readValues(arguments)
	if err != nil {
		return fmt.Appendf(answer, "H%v", err)
	}
	if name == regexProgram || name == globProgram {
		return patternProgram(name, operands, answer)
	}
	f := topdown.GetBuiltin(name)
	if f == nil {
		return append(answer, "Hno such function"...)
	}
	bctx := topdown.BuiltinContext{
		Context:                context.Background(),
		Seed:                   rand.Reader,
		Time:                   evaluation.time,
		Runtime:                evaluation.runtime,
		Cancel:                 topdown.NewCancel(),
		Cache:                  evaluation.cache,
		NDBuiltinCache:         evaluation.nondeterministic,
		InterQueryBuiltinCache: interQuery,
		Capabilities:           capabilities,
		Metrics:                metrics.NoOp(),
	}
	if name == ast.InternalPrint.Name {
		printed := bytes.NewBufferString("P")
		bctx.PrintHook = topdown.NewPrintHook(printed)
		if err := f(bctx, operands, func(*ast.Term) error { return nil }); err != nil {
			return fmt.Appendf(answer, "H%v", err)
		}
		return append(answer, bytes.TrimSuffix(printed.Bytes(), []byte("\n"))...)
	}
	answer = append(answer, 'U')
	err = f(bctx, operands, func(term *ast.Term) error {
		if text, ok := term.Value.(ast.String); ok {
			answer = append(append(answer[:0], 'S'), text...)
		} else {
			answer = appendValue(append(answer[:0], 'V'), term.Value)
		}
		return nil
	})
	if err == nil {
		return answer
	}
	var halt topdown.Halt
	if errors.As(err, &halt) {
		return fmt.Appendf(answer[:0], "H%v", halt.Err)
	}
	return fmt.Appendf(answer[:0], "E%v", err)
}
