// Rules that differ in constants, found by a look-up instead of one after another.
//
// OPA's evaluator has an index of rules; policy.wasm tries every rule of a name in turn. So before planning, rules of
// one name that compare the same part of the input with different strings,
//
//	allow if { input.path == "/a"; … }
//	allow if { input.path == "/b"; … }
//
// move to a package for each string, and a rule that picks the package stays:
//
//	allow := value if { key = input.path; value = data[indexRoot].i0[key].rule }
//
// which the planner turns into one look-up in a table of functions. Works on modules that were compiled, so that
// references, imports and local variables are resolved; each rule keeps its value and the rest of its body, so what
// it gives, and conflicts between rules, stay as they are. Not moved: functions, defaults, rules with `else`, rules
// whose name has variable parts.
package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// indexRoot holds the packages of moved rules. No package of Rego that came from outside has it: see indexRules.
const indexRoot = "index of rules"

// minRulesSaved is how many rules a look-up must save to be worth its time, measured: a look-up takes as long as some
// ten comparisons.
const minRulesSaved = 12

// maxUnsharded is how many strings a group may have before it is divided into shards by parts of the string: the time
// that OPA takes to write down the table of functions grows with the square of what is side by side in it.
const maxUnsharded = 256

const (
	indexKey    = ast.Var("__index_key__")
	indexValue  = ast.Var("__index_value__")
	indexMember = ast.Var("__index_member__")
	indexShard  = "__index_shard__"
	indexRule   = "rule"
)

type ruleIndex struct {
	minSaved int
	groups   int
	packages []*ast.Module
}

// indexRules changes compiled modules in place and adds those of moved rules. It leaves all as it is where a reference
// could see the added packages (`data`, `data[x]`), and where `with` replaces rules or functions, since the planner
// cannot pass those on to a rule that it looks up.
func indexRules(compiler *ast.Compiler, minSaved int) {
	for _, module := range compiler.Modules {
		if !indexable(module) {
			return
		}
	}
	index := &ruleIndex{minSaved: minSaved}
	for _, name := range util.KeysSorted(compiler.Modules) {
		index.module(compiler.Modules[name])
	}
	for i, module := range index.packages {
		compiler.Modules[fmt.Sprintf("%s/%d", indexRoot, i)] = module
	}
}

func indexable(module *ast.Module) bool {
	ok := true
	var visit func(node any) bool
	visit = func(node any) bool {
		switch node := node.(type) {
		case *ast.With:
			target, isRef := node.Target.Value.(ast.Ref)
			ok = ok && (node.Target.Equal(ast.InputRootDocument) || isRef && target.HasPrefix(ast.InputRootRef))
		case ast.Var:
			ok = ok && !node.Equal(ast.DefaultRootDocument.Value)
		case ast.Ref:
			if !node.HasPrefix(ast.DefaultRootRef) {
				return !ok
			}
			root := ast.String("")
			if len(node) > 1 {
				root, _ = node[1].Value.(ast.String)
			}
			ok = ok && root != "" && root != indexRoot
			// The head is no use of the whole document.
			for _, part := range node[1:] {
				ast.NewGenericVisitor(visit).Walk(part)
			}
			return true
		}
		return !ok
	}
	ast.NewGenericVisitor(visit).Walk(module)
	return ok
}

func (index *ruleIndex) module(module *ast.Module) {
	byName := map[ast.Var][]*ast.Rule{}
	var names []ast.Var
	var rules []*ast.Rule
	for _, rule := range module.Rules {
		if !movable(rule) {
			rules = append(rules, rule)
			continue
		}
		name := rule.Head.Name
		if byName[name] == nil {
			names = append(names, name)
		}
		byName[name] = append(byName[name], rule)
	}
	for _, name := range names {
		rules = append(rules, index.split(byName[name])...)
	}
	module.Rules = rules
}

func movable(rule *ast.Rule) bool {
	head := rule.Head
	return !rule.Default && rule.Else == nil && len(head.Args) == 0 && len(head.Ref()) == 1 && (head.Key == nil) != (head.Value == nil)
}

// comparison is an expression that compares a reference into the input with a string.
type comparison struct {
	rule *ast.Rule
	at   int
	text ast.String
}

// split moves as many rules of one name as are worth it, and returns what is to stand in their place.
func (index *ruleIndex) split(rules []*ast.Rule) []*ast.Rule {
	for len(rules) > index.minSaved {
		ref, comparisons := index.mostDistinguishing(rules)
		if ref == nil {
			break
		}
		byText := map[ast.String][]*ast.Rule{}
		moved := map[*ast.Rule]bool{}
		for _, c := range comparisons {
			moved[c.rule] = true
			byText[c.text] = append(byText[c.text], without(c.rule, c.at))
		}
		group := ast.Ref{ast.DefaultRootDocument, ast.StringTerm(indexRoot), ast.StringTerm(fmt.Sprintf("i%d", index.groups))}
		index.groups++
		texts := util.KeysSorted(byText)
		shards := shardsOf(texts)
		for _, text := range texts {
			path := group
			for _, shard := range shards {
				path = path.Append(ast.StringTerm(shard.of([]rune(string(text)))))
			}
			index.add(path.Append(ast.NewTerm(text)), byText[text])
		}
		rest := make([]*ast.Rule, 0, len(rules)-len(moved)+1)
		for _, rule := range rules {
			if !moved[rule] {
				rest = append(rest, rule)
			}
		}
		rules = append(rest, lookUp(rules[0], ref, group, shards))
	}
	return rules
}

// mostDistinguishing finds the reference that saves the most rules: those that compare it, less the largest number
// that compare it with one string. Nil where that is too few.
func (index *ruleIndex) mostDistinguishing(rules []*ast.Rule) (ast.Ref, []comparison) {
	type candidate struct {
		ref         ast.Ref
		comparisons []comparison
		count       map[ast.String]int
		largest     int
	}
	byRef := map[string]*candidate{}
	var order []*candidate
	for _, rule := range rules {
		compared := map[*candidate]bool{}
		for at, expr := range rule.Body {
			ref, text, ok := comparisonOf(expr)
			if !ok {
				continue
			}
			key := ref.String()
			c := byRef[key]
			if c == nil {
				c = &candidate{ref: ref, count: map[ast.String]int{}}
				byRef[key] = c
				order = append(order, c)
			}
			if compared[c] {
				continue
			}
			compared[c] = true
			c.comparisons = append(c.comparisons, comparison{rule, at, text})
			c.count[text]++
			c.largest = max(c.largest, c.count[text])
		}
	}
	var best *candidate
	saved := index.minSaved - 1
	for _, c := range order {
		if s := len(c.comparisons) - c.largest; s > saved {
			best, saved = c, s
		}
	}
	if best == nil {
		return nil, nil
	}
	return best.ref, best.comparisons
}

// comparisonOf tells `input.a.b == "text"`, written either way.
func comparisonOf(expr *ast.Expr) (ast.Ref, ast.String, bool) {
	if expr.Negated || len(expr.With) > 0 || !(expr.IsEquality() || expr.IsCall() && expr.Operator().Equal(ast.Equal.Ref())) {
		return nil, "", false
	}
	a, b := expr.Operand(0), expr.Operand(1)
	if _, ok := a.Value.(ast.String); ok {
		a, b = b, a
	}
	ref, isRef := a.Value.(ast.Ref)
	text, isText := b.Value.(ast.String)
	if !isRef || !isText || !plainText(text) || len(ref) < 2 || !ref.HasPrefix(ast.InputRootRef) || !ref.IsGround() {
		return nil, "", false
	}
	return ref, text, true
}

// plainText tells strings that OPA writes into the table of functions as they are: it writes JSON as if it were Go.
func plainText(text ast.String) bool {
	var read string
	return json.Unmarshal([]byte(strconv.Quote(string(text))), &read) == nil && read == string(text)
}

// add makes the package of one string, whose rules may be split again.
func (index *ruleIndex) add(path ast.Ref, rules []*ast.Rule) {
	module := &ast.Module{Package: &ast.Package{Location: rules[0].Location, Path: path}}
	for _, rule := range rules {
		head := *rule.Head
		head.Name = indexRule
		head.Reference = ast.Ref{ast.VarTerm(indexRule)}
		rule.Head = &head
		rule.Module = module
	}
	index.packages = append(index.packages, module)
	module.Rules = index.split(rules)
	for _, rule := range module.Rules {
		rule.Module = module
	}
}

// without is a copy of a rule that lacks one expression of its body.
func without(rule *ast.Rule, at int) *ast.Rule {
	moved := *rule
	body := make(ast.Body, 0, len(rule.Body))
	for i, expr := range rule.Body {
		if i != at {
			body = append(body, expr)
		}
	}
	if len(body) == 0 {
		body = ast.NewBody(ast.NewExpr(ast.InternedTerm(true)).SetLocation(rule.Body[at].Location))
	}
	moved.Body = body
	return &moved
}

// lookUp is the rule that stands for those of a group; like is one of them.
func lookUp(like *ast.Rule, ref, group ast.Ref, shards []window) *ast.Rule {
	key, value, member := ast.NewTerm(indexKey), ast.NewTerm(indexValue), ast.NewTerm(indexMember)
	exprs := []*ast.Expr{ast.Equality.Expr(key, ast.NewTerm(ref))}
	if len(shards) > 0 {
		exprs = append(exprs, ast.IsString.Expr(key))
	}
	for i, window := range shards {
		shard := ast.VarTerm(fmt.Sprintf("%s%d", indexShard, i))
		exprs = append(exprs, ast.Substring.Expr(key, ast.IntNumberTerm(window.offset), ast.IntNumberTerm(window.length), shard))
		group = group.Append(shard)
	}
	found := group.Append(key).Append(ast.StringTerm(indexRule))
	head := &ast.Head{Name: like.Head.Name, Reference: like.Head.Ref(), Assign: true, Location: like.Head.Location}
	if like.Head.Key != nil {
		found = found.Append(member)
		head.Key = member
	} else {
		head.Value = value
	}
	exprs = append(exprs, ast.Equality.Expr(value, ast.NewTerm(found)))
	for _, expr := range exprs {
		expr.SetLocation(like.Location)
	}
	return &ast.Rule{Location: like.Location, Head: head, Body: ast.NewBody(exprs...), Module: like.Module}
}

// window is a part of a string: characters counted from its start.
type window struct {
	offset, length int
}

func (w window) of(text []rune) string {
	from := min(w.offset, len(text))
	return string(text[from:min(from+w.length, len(text))])
}

// shardsOf finds the parts of strings that divide them most evenly, one after another; none where there are too few
// strings or no part divides them well.
func shardsOf(texts []ast.String) []window {
	const maxOffset, maxLength, maxWindows, maxSample = 48, 2, 3, 1000
	if len(texts) <= maxUnsharded {
		return nil
	}
	stride := (len(texts) + maxSample - 1) / maxSample
	var sample [][]rune
	for i := 0; i < len(texts); i += stride {
		sample = append(sample, []rune(string(texts[i])))
	}
	var windows []window
	shardOf := make([]string, len(sample))
	// What is written down for each string: the shards beside its own on each level, then the strings in its shard.
	levels := 0
	least := len(sample) * len(texts)
	for len(windows) < maxWindows {
		var best window
		var bestLevel int
		leastBefore := least
		for length := 1; length <= maxLength; length++ {
			for offset := range maxOffset {
				candidate := window{offset, length}
				inShard, parts := map[string]int{}, map[string]map[string]bool{}
				for i, text := range sample {
					part := candidate.of(text)
					inShard[shardOf[i]+"\x00"+part]++
					if parts[shardOf[i]] == nil {
						parts[shardOf[i]] = map[string]bool{}
					}
					parts[shardOf[i]][part] = true
				}
				level, members := 0, 0
				for i, text := range sample {
					level += len(parts[shardOf[i]])
					members += inShard[shardOf[i]+"\x00"+candidate.of(text)] * stride
				}
				if cost := levels + level + members; cost < least {
					best, bestLevel, least = candidate, level, cost
				}
			}
		}
		if least > leastBefore*2/3 {
			break
		}
		windows = append(windows, best)
		levels += bestLevel
		for i, text := range sample {
			shardOf[i] += "\x00" + best.of(text)
		}
	}
	return windows
}
