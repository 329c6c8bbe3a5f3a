package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
)

// mutant is one small fault.
type mutant struct {
	id         int // from 1
	file       string
	line       int
	was, makes string
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d: %s => %s", m.file, m.line, m.was, m.makes)
}

// isAt tells whether the mutant is at one of places.
func (m mutant) isAt(places string) bool {
	if places == "" {
		return true
	}
	for place := range strings.SplitSeq(places, ",") {
		if place == m.file || place == fmt.Sprintf("%s:%d", m.file, m.line) {
			return true
		}
	}
	return false
}

// planter puts mutants into the files of a package.
type planter struct {
	set     *token.FileSet
	info    *types.Info
	mutants []mutant

	// Of the file at work.
	source []byte
	edits  edits
}

// Operators that take each other's place.
var (
	negated  = map[token.Token]token.Token{token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.GEQ, token.GEQ: token.LSS, token.GTR: token.LEQ, token.LEQ: token.GTR}
	boundary = map[token.Token]token.Token{token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR}
	inverse  = map[token.Token]token.Token{token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL,
		token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN, token.INC: token.DEC, token.DEC: token.INC}
	helper = map[token.Token]string{token.LSS: "less", token.LEQ: "most", token.GTR: "more", token.GEQ: "least",
		token.ADD: "add", token.SUB: "sub", token.MUL: "mul", token.QUO: "quo"}
)

// plant returns source, of the file f, with all its mutants in it.
func (p *planter) plant(f *ast.File, source []byte) []byte {
	p.source, p.edits = source, nil
	var around []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if n == nil {
			around = around[:len(around)-1]
			return true
		}
		if d, ok := n.(*ast.GenDecl); ok && d.Tok != token.VAR {
			return false
		}
		if e, ok := n.(ast.Expr); ok && p.info.Types[e].Value != nil && !isBool(e) {
			return false // a constant may have to be one
		}
		p.node(n, around)
		around = append(around, n)
		return true
	})
	return p.edits.apply(source)
}

func (p *planter) node(n ast.Node, around []ast.Node) {
	switch n := n.(type) {
	case *ast.BlockStmt:
		p.statements(n.List)
	case *ast.CommClause:
		p.statements(n.Body)
	case *ast.CaseClause:
		p.statements(n.Body)
		if s, ok := around[len(around)-2].(*ast.SwitchStmt); ok && s.Tag == nil {
			for _, e := range n.List {
				p.condition(e)
			}
		}
	case *ast.IfStmt:
		p.condition(n.Cond)
	case *ast.ForStmt:
		p.condition(n.Cond)
	case *ast.ReturnStmt:
		p.results(n, around)
	case *ast.BinaryExpr:
		p.binary(n)
	case *ast.Ident:
		if isBool(n) && p.info.Uses[n] == types.Universe.Lookup(n.Name) {
			if n.Name == "true" {
				p.replace(n, "false", "!mutant__on(%d)")
			} else {
				p.replace(n, "true", "mutant__on(%d)")
			}
		}
	}
}

// statements plants mutants that leave out or invert a statement of a list.
func (p *planter) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			if p.neverLeftOut(s.X) {
				continue
			}
		case *ast.DeferStmt:
			if p.neverLeftOut(s.Call) {
				continue
			}
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE || allBlank(s.Lhs) {
				continue
			}
		case *ast.SendStmt, *ast.GoStmt, *ast.IncDecStmt:
		default:
			continue
		}
		p.wrap(s, "nothing", "if !mutant__on(%d) { ", " }")
		switch s := s.(type) {
		case *ast.IncDecStmt:
			p.inverted(s, s.X, s.Tok, "")
		case *ast.AssignStmt:
			if inverse[s.Tok] != 0 && p.isNumber(s.Lhs[0]) {
				p.inverted(s, s.Lhs[0], s.Tok, p.text(s.Rhs[0]))
			}
		}
	}
}

func (p *planter) inverted(s ast.Stmt, left ast.Expr, operator token.Token, right string) {
	other := p.text(left) + " " + inverse[operator].String() + " " + right
	p.wrap(s, other, "if mutant__on(%d) { "+strings.ReplaceAll(other, "%", "%%")+" } else { ", " }")
}

// neverLeftOut tells that a call ends a function, or is one of a pair on a lock:
// without it every test hangs or crashes, which shows nothing.
func (p *planter) neverLeftOut(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		return f.Name == "panic"
	case *ast.SelectorExpr:
		switch f.Sel.Name {
		case "Lock", "Unlock", "RLock", "RUnlock":
			return true
		}
	}
	return false
}

// condition negates what a condition is made of, comparisons aside: those are
// negated wherever they are.
func (p *planter) condition(e ast.Expr) {
	switch x := ast.Unparen(e).(type) {
	case nil:
	case *ast.UnaryExpr:
		p.condition(x.X)
	case *ast.BinaryExpr:
		if x.Op == token.LAND || x.Op == token.LOR {
			p.condition(x.X)
			p.condition(x.Y)
		}
	default:
		if p.info.Types[x].Value == nil {
			p.wrap(x, "!"+p.text(x), "(mutant__on(%d) != (", "))")
		}
	}
}

func (p *planter) binary(e *ast.BinaryExpr) {
	if to := negated[e.Op]; to != 0 {
		p.wrap(e, p.with(e, to), "(mutant__on(%d) != (", "))")
	}
	if to := boundary[e.Op]; to != 0 {
		p.call(e, to)
	}
	if to := inverse[e.Op]; to != 0 && p.isNumber(e) {
		p.call(e, to)
	}
	if e.Op == token.LAND || e.Op == token.LOR {
		// a || b is !(!a && !b), and the other way round.
		to := token.LAND + token.LOR - e.Op
		on := fmt.Sprintf("(mutant__on(%d) != (", len(p.mutants)+1)
		p.wrap(e, p.with(e, to), "(mutant__on(%d) != (", "))")
		p.edits.wrap(p.offset(e.X.Pos()), p.offset(e.X.End()), on, "))")
		p.edits.wrap(p.offset(e.Y.Pos()), p.offset(e.Y.End()), on, "))")
	}
}

// call makes an operator the call of a function that does it or the other one.
func (p *planter) call(e *ast.BinaryExpr, to token.Token) {
	p.wrap(e, p.with(e, to), "mutant__"+helper[e.Op]+"(%d, ", ")")
	p.edits.replace(p.offset(e.OpPos), len(e.Op.String()), ",")
}

// results has a function forget the error that it returns.
func (p *planter) results(n *ast.ReturnStmt, around []ast.Node) {
	var f *types.Signature
	for _, a := range around {
		switch a := a.(type) {
		case *ast.FuncDecl:
			f = p.info.Defs[a.Name].Type().(*types.Signature)
		case *ast.FuncLit:
			f = p.info.Types[a].Type.(*types.Signature)
		}
	}
	if f.Results().Len() != len(n.Results) {
		return
	}
	for i, e := range n.Results {
		if f.Results().At(i).Type() == types.Universe.Lookup("error").Type() && !p.info.Types[e].IsNil() {
			p.wrap(e, "nil", "mutant__err(%d, ", ")")
		}
	}
}

// wrap plants a mutant by text around n; %d in it stands for the mutant.
func (p *planter) wrap(n ast.Node, makes, before, behind string) {
	p.add(n, makes)
	p.edits.wrap(p.offset(n.Pos()), p.offset(n.End()), fmt.Sprintf(before, len(p.mutants)), behind)
}

func (p *planter) replace(n ast.Node, makes, text string) {
	p.add(n, makes)
	p.edits.replace(p.offset(n.Pos()), int(n.End()-n.Pos()), fmt.Sprintf(text, len(p.mutants)))
}

func (p *planter) add(n ast.Node, makes string) {
	place := p.set.Position(n.Pos())
	p.mutants = append(p.mutants, mutant{
		id: len(p.mutants) + 1, file: filepath.Base(place.Filename), line: place.Line,
		was: oneLine(p.text(n)), makes: oneLine(makes),
	})
}

func (p *planter) offset(at token.Pos) int { return p.set.Position(at).Offset }

func (p *planter) text(n ast.Node) string {
	return string(p.source[p.offset(n.Pos()):p.offset(n.End())])
}

func (p *planter) with(e *ast.BinaryExpr, operator token.Token) string {
	return p.text(e.X) + " " + operator.String() + " " + p.text(e.Y)
}

func (p *planter) isNumber(e ast.Expr) bool {
	basic, ok := p.info.Types[e].Type.Underlying().(*types.Basic)
	return ok && basic.Info()&(types.IsInteger|types.IsFloat) != 0
}

func isBool(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && (id.Name == "true" || id.Name == "false")
}

func allBlank(list []ast.Expr) bool {
	for _, e := range list {
		if id, ok := e.(*ast.Ident); !ok || id.Name != "_" {
			return false
		}
	}
	return true
}

func oneLine(s string) string {
	if s = strings.Join(strings.Fields(s), " "); len(s) > 90 {
		s = s[:90] + "..."
	}
	return s
}
