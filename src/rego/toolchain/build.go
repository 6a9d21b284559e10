// Compilation of a folder's modules to one policy.wasm, and what its entrypoints are and read.
package main

import (
	"context"
	"encoding/base64"
	"runtime/debug"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/util"
)

type buildRequest struct {
	sources
	Entrypoints []string `json:"entrypoints"`
	// SkipReads leaves out what entrypoints read, for a build that is evaluated once and thrown away.
	SkipReads bool `json:"skip_reads"`
	// IndexFrom is how many rules a look-up must save to take their place; absent: as many as make it worth its time.
	// The highest integer leaves all rules as they are.
	IndexFrom *int `json:"index_from"`
	// Query compiles one query with bindings instead of entrypoints; its result set has an object of its variables
	// for each answer.
	Query string `json:"query"`
}

type builtEntrypoint struct {
	Path        string             `json:"path"`
	Annotations []*ast.Annotations `json:"annotations,omitempty"`
	Reads       *reads             `json:"reads,omitempty"`
}

func build(request buildRequest) (any, error) {
	if request.Query != "" {
		return request.buildQuery()
	}
	// A build leaves little garbage and then ends: collecting it as often as by default takes a quarter of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	modules, err := request.parse()
	if err != nil {
		return nil, err
	}
	// The compiler rewrites the modules that it is given, so what follows parses them again.
	source := &bundle.Bundle{Data: map[string]any{}}
	source.SetRegoVersion(request.version())
	source.Manifest.Init()
	for _, path := range util.KeysSorted(modules) {
		source.Modules = append(source.Modules, bundle.ModuleFile{
			URL: path, Path: path, Raw: []byte(request.Files[path]), Parsed: modules[path],
		})
	}
	compiler := compile.New().
		WithTarget(compile.TargetWasm).
		WithAsBundle(true).
		WithEnablePrintStatements(true).
		WithRegoVersion(request.version()).
		WithRegoAnnotationEntrypoints(true).
		WithEntrypoints(request.Entrypoints...).
		WithBundle(source)
	prepared := ast.NewCompiler().WithCapabilities(request.capabilities()).WithEnablePrintStatements(true)
	if prepared.Compile(modules); prepared.Failed() {
		return nil, prepared.Errors
	}
	minSaved := minRulesSaved
	if request.IndexFrom != nil {
		minSaved = *request.IndexFrom
	}
	indexRules(prepared, minSaved)
	if err := plan(compiler, prepared); err != nil {
		return nil, err
	}
	built := compiler.Bundle()

	var analysed *ast.Compiler
	if !request.SkipReads {
		if analysed, _, err = request.compile(nil); err != nil {
			return nil, err
		}
	}
	entrypoints := make([]builtEntrypoint, 0, len(built.Manifest.WasmResolvers))
	for _, resolver := range built.Manifest.WasmResolvers {
		entrypoint := builtEntrypoint{Path: resolver.Entrypoint, Annotations: resolver.Annotations}
		if analysed != nil {
			if entrypoint.Reads, err = readsOf(analysed, resolver.Entrypoint); err != nil {
				return nil, err
			}
		}
		entrypoints = append(entrypoints, entrypoint)
	}
	return map[string]any{
		"wasm":        base64.StdEncoding.EncodeToString(built.WasmModules[0].Raw),
		"entrypoints": entrypoints,
	}, nil
}

func (request buildRequest) buildQuery() (any, error) {
	options := []func(*rego.Rego){rego.Query(request.Query), rego.SetRegoVersion(request.version()), rego.Capabilities(request.capabilities())}
	for _, path := range util.KeysSorted(request.Files) {
		options = append(options, rego.Module(path, request.Files[path]))
	}
	compiled, err := rego.New(options...).Compile(context.Background())
	if err != nil {
		return nil, err
	}
	return map[string]any{"wasm": base64.StdEncoding.EncodeToString(compiled.Bytes), "entrypoints": []builtEntrypoint{}}, nil
}
