// OPA's built-in functions, one call at a time, for policies that run as WebAssembly in the host.
//
// A request is the function's name, a NUL byte and its arguments as one array in Rego's syntax, so that sets
// stay sets and numbers keep their digits. An answer is one letter and a text:
//
//	V  the result, in Rego's syntax
//	U  undefined
//	E  an error that makes the call undefined unless errors are strict
//	H  an error that ends the evaluation
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"
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

var (
	capabilities    = ast.CapabilitiesForThisVersion()
	interQuery      = cache.NewInterQueryCache(nil)
	interQueryValue = cache.NewInterQueryValueCache(context.Background(), nil)
)

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
	f := topdown.GetBuiltin(name)
	if f == nil {
		return append(answer, "Hno such function"...)
	}
	parsed, err := ast.ParseTerm(arguments)
	if err != nil {
		return fmt.Appendf(answer, "H%v", err)
	}
	array := parsed.Value.(*ast.Array)
	operands := make([]*ast.Term, array.Len())
	for i := range operands {
		operands[i] = array.Elem(i)
	}
	bctx := topdown.BuiltinContext{
		Context:                     context.Background(),
		Seed:                        rand.Reader,
		Time:                        evaluation.time,
		Runtime:                     evaluation.runtime,
		Cancel:                      topdown.NewCancel(),
		Cache:                       evaluation.cache,
		NDBuiltinCache:              evaluation.nondeterministic,
		InterQueryBuiltinCache:      interQuery,
		InterQueryBuiltinValueCache: interQueryValue,
		Capabilities:                capabilities,
	}
	answer = append(answer, 'U')
	err = f(bctx, operands, func(term *ast.Term) error {
		answer = append(append(answer[:0], 'V'), term.String()...)
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
