package promql

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// set is a set of names of labels.
type set map[string]bool

func setOf(names ...string) set {
	s := set{}
	for _, n := range names {
		s[n] = true
	}
	return s
}

func (s set) String() string { return "{" + strings.Join(slices.Sorted(maps.Keys(s)), ", ") + "}" }

// checker knows the labels of all metrics.
type checker struct {
	metrics map[string]set
	used    set // names of metrics that were met
}

// scraped are the labels that Prometheus gives to all; a target may do without cluster.
var scraped = []string{"cluster", "job", "instance"}

// check parses an expression and returns the labels of what it gives.
func (c *checker) check(text string) (set, error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m").Replace(text))
	if err != nil {
		return nil, err
	}
	return c.labels(e)
}

// labels works out which labels an expression's series have; nil for a number. It is an
// error to name a metric or a label that is not there, and to join series whose labels
// differ without saying on which: Prometheus says nothing to either, and finds nothing.
func (c *checker) labels(e parser.Expr) (set, error) {
	switch e := e.(type) {
	case *parser.NumberLiteral, *parser.StringLiteral:
		return nil, nil
	case *parser.ParenExpr:
		return c.labels(e.Expr)
	case *parser.UnaryExpr:
		return c.labels(e.Expr)
	case *parser.StepInvariantExpr:
		return c.labels(e.Expr)
	case *parser.SubqueryExpr:
		return c.labels(e.Expr)
	case *parser.MatrixSelector:
		return c.labels(e.VectorSelector)
	case *parser.VectorSelector:
		return c.selector(e)
	case *parser.Call:
		return c.call(e)
	case *parser.AggregateExpr:
		return c.aggregate(e)
	case *parser.BinaryExpr:
		return c.binary(e)
	}
	return nil, fmt.Errorf("%s: a %T is not known here", e, e)
}

func (c *checker) selector(e *parser.VectorSelector) (set, error) {
	have, ok := c.metrics[e.Name]
	if !ok {
		return nil, fmt.Errorf("there is no metric %q", e.Name)
	}
	c.used[e.Name] = true
	for _, m := range e.LabelMatchers {
		if m.Name != labels.MetricName && !have[m.Name] {
			return nil, fmt.Errorf("%s has no label %s, but %s", e.Name, m.Name, have)
		}
	}
	return maps.Clone(have), nil
}

func (c *checker) call(e *parser.Call) (set, error) {
	var all set
	for _, arg := range e.Args {
		s, err := c.labels(arg)
		if err != nil {
			return nil, err
		}
		if s != nil {
			all = s
		}
	}
	if e.Func.Name == "histogram_quantile" {
		if !all["le"] {
			return nil, fmt.Errorf("%s: without le", e)
		}
		delete(all, "le")
	}
	return all, nil
}

func (c *checker) aggregate(e *parser.AggregateExpr) (set, error) {
	inner, err := c.labels(e.Expr)
	if err != nil {
		return nil, err
	}
	for _, name := range e.Grouping {
		if !inner[name] {
			return nil, fmt.Errorf("%s: there is no label %s, but %s", e, name, inner)
		}
	}
	switch {
	case e.Op == parser.TOPK || e.Op == parser.BOTTOMK:
		return inner, nil
	case e.Without:
		for _, name := range e.Grouping {
			delete(inner, name)
		}
		return inner, nil
	}
	return setOf(e.Grouping...), nil
}

func (c *checker) binary(e *parser.BinaryExpr) (set, error) {
	left, err := c.labels(e.LHS)
	if err != nil {
		return nil, err
	}
	right, err := c.labels(e.RHS)
	if err != nil {
		return nil, err
	}
	m := e.VectorMatching
	switch {
	case left == nil:
		return right, nil
	case right == nil:
		return left, nil
	case m == nil || !m.On && len(m.MatchingLabels) == 0:
		// An or of series with unequal labels is the union of both, which is well defined.
		if e.Op == parser.LOR {
			maps.Copy(left, right)
			return left, nil
		}
		if !maps.Equal(left, right) {
			return nil, fmt.Errorf("%s: the labels are %s on the left and %s on the right, and nothing says on which they are joined", e, left, right)
		}
		return left, nil
	case !m.On:
		return nil, fmt.Errorf("%s: ignoring is not known here", e)
	}
	for _, name := range m.MatchingLabels {
		if !left[name] || !right[name] {
			return nil, fmt.Errorf("%s: joined on %s, with %s on the left and %s on the right", e, name, left, right)
		}
	}
	switch {
	case e.Op.IsSetOperator() || m.Card == parser.CardManyToOne:
		for _, name := range m.Include {
			left[name] = true
		}
		return left, nil
	case m.Card == parser.CardOneToMany:
		return right, nil
	}
	return setOf(m.MatchingLabels...), nil
}
