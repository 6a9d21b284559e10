// Rego tests with coverage and the reasons of failures.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/lineage"
)

type testRequest struct {
	sources
	Data json.RawMessage `json:"data"`
	// Run keeps the tests whose full name matches this regular expression. Empty: all.
	Run       string `json:"run"`
	TimeoutMs int    `json:"timeout_ms"`
}

type testResult struct {
	Package    string     `json:"package"`
	Name       string     `json:"name"`
	Outcome    string     `json:"outcome"` // pass, fail, error or skip
	DurationUs int64      `json:"duration_us"`
	Location   *location  `json:"location,omitempty"`
	Output     string     `json:"output,omitempty"`
	Error      *problem   `json:"error,omitempty"`
	Trace      string     `json:"trace,omitempty"`
	Cases      []testCase `json:"cases,omitempty"`
}

type testCase struct {
	Name string `json:"name"`
	Pass bool   `json:"pass"`
}

// test runs every test with coverage, and those that did not pass once more with a trace, since OPA's runner
// does one or the other.
func test(request testRequest) (any, error) {
	coverage := cover.New()
	results, modules, err := request.runTests(request.Run, func(r *tester.Runner) *tester.Runner {
		return r.SetCoverageQueryTracer(coverage)
	})
	if err != nil {
		return nil, err
	}
	all := []testResult{}
	failed := []string{}
	for _, result := range results {
		one := toTestResult(result)
		if one.Outcome == "fail" || one.Outcome == "error" {
			failed = append(failed, regexp.QuoteMeta(result.Package+"."+result.Name))
		}
		all = append(all, one)
	}
	if len(failed) > 0 {
		traced, _, err := request.runTests("^("+strings.Join(failed, "|")+")$", func(r *tester.Runner) *tester.Runner {
			return r.EnableTracing(true)
		})
		if err != nil {
			return nil, err
		}
		addTraces(all, traced)
	}
	sort.SliceStable(all, func(i, j int) bool { return before(all[i].Location, all[j].Location) })

	return map[string]any{"results": all, "coverage": policyCoverage(coverage.Report(modules))}, nil
}

// policyCoverage leaves the tests themselves out: lines of a test that ran say nothing of the policy.
func policyCoverage(report cover.Report) cover.Report {
	report.CoveredLines, report.NotCoveredLines, report.Coverage = 0, 0, 100
	for path, file := range report.Files {
		if isTestFile(path) {
			delete(report.Files, path)
			continue
		}
		report.CoveredLines += file.CoveredLines
		report.NotCoveredLines += file.NotCoveredLines
	}
	if all := report.CoveredLines + report.NotCoveredLines; all > 0 {
		report.Coverage = math.Floor(10_000*float64(report.CoveredLines)/float64(all)) / 100
	}
	return report
}

func (request testRequest) runTests(filter string, configure func(*tester.Runner) *tester.Runner) ([]*tester.Result, map[string]*ast.Module, error) {
	modules, err := request.parse()
	if err != nil {
		return nil, nil, err
	}
	data, err := store(request.Data)
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	txn, err := data.NewTransaction(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer data.Abort(ctx, txn)

	timeout := 5 * time.Second
	if request.TimeoutMs > 0 {
		timeout = time.Duration(request.TimeoutMs) * time.Millisecond
	}
	runner := configure(tester.NewRunner().
		SetDefaultRegoVersion(request.version()).
		SetStore(data).
		SetModules(modules).
		SetParallel(1).
		SetTimeout(timeout).
		CapturePrintOutput(true).
		Filter(filter))
	channel, err := runner.RunTests(ctx, txn)
	if err != nil {
		return nil, nil, err
	}
	results := []*tester.Result{}
	for result := range channel {
		results = append(results, result)
	}
	return results, modules, nil
}

func addTraces(all []testResult, traced []*tester.Result) {
	for _, result := range traced {
		var text bytes.Buffer
		topdown.PrettyTraceWithLocation(&text, lineage.Fails(result.Trace))
		for i := range all {
			if all[i].Package == result.Package && all[i].Name == result.Name {
				all[i].Trace = text.String()
			}
		}
	}
}

func isTestFile(path string) bool { return len(path) > 10 && path[len(path)-10:] == "_test.rego" }

func toTestResult(result *tester.Result) testResult {
	r := testResult{
		Package:    result.Package,
		Name:       result.Name,
		Outcome:    "pass",
		DurationUs: result.Duration.Microseconds(),
		Location:   locate(result.Location),
		Output:     string(result.Output),
	}
	for name, sub := range result.SubResults {
		r.Cases = append(r.Cases, testCase{Name: name, Pass: !sub.Fail})
	}
	sort.Slice(r.Cases, func(i, j int) bool { return r.Cases[i].Name < r.Cases[j].Name })
	switch {
	case result.Skip:
		r.Outcome = "skip"
	case result.Error != nil:
		r.Outcome = "error"
		r.Error = &describe(result.Error)[0]
	case result.Fail:
		r.Outcome = "fail"
	}
	return r
}
