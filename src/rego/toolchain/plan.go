// Planning of modules that were compiled and then changed (rule_index.go).
//
// OPA's compile package compiles and plans in one go and lets nothing in between. These are its own steps, bound by
// name: the module's version is pinned, and a name that is gone fails the build of the toolchain.
package main

import (
	"context"
	"reflect"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/compile"
)

//go:linkname initCompiler github.com/open-policy-agent/opa/v1/compile.(*Compiler).init
func initCompiler(compiler *compile.Compiler) error

//go:linkname checkNumEntrypoints github.com/open-policy-agent/opa/v1/compile.(*Compiler).checkNumEntrypoints
func checkNumEntrypoints(compiler *compile.Compiler) error

//go:linkname addEntrypointsFromAnnotations github.com/open-policy-agent/opa/v1/compile.addEntrypointsFromAnnotations
func addEntrypointsFromAnnotations(compiler *compile.Compiler, annotations []*ast.AnnotationsRef) error

//go:linkname dedupEntrypointRefs github.com/open-policy-agent/opa/v1/compile.(*Compiler).dedupEntrypointRefs
func dedupEntrypointRefs(compiler *compile.Compiler) error

//go:linkname compileWasm github.com/open-policy-agent/opa/v1/compile.(*Compiler).compileWasm
func compileWasm(compiler *compile.Compiler, ctx context.Context) error

// plan is Compiler.Build for the target wasm, but for modules that were compiled already.
func plan(compiler *compile.Compiler, modules *ast.Compiler) error {
	if err := initCompiler(compiler); err != nil {
		return err
	}
	if err := addEntrypointsFromAnnotations(compiler, modules.GetAnnotationSet().Flatten()); err != nil {
		return err
	}
	if err := checkNumEntrypoints(compiler); err != nil {
		return err
	}
	if err := dedupEntrypointRefs(compiler); err != nil {
		return err
	}
	field := reflect.ValueOf(compiler).Elem().FieldByName("compiler")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(modules))
	return compileWasm(compiler, context.Background())
}
