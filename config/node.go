package config

import (
	"slices"

	"github.com/bmatcuk/doublestar/v4"
)

// ForNode returns the part of c that is for node: without sources and targets
// whose nodes and nodeSelector leave it out. c itself is not changed. It comes
// before Resolve where nodes differ in the files that they have.
func (c *Config) ForNode(node Node) *Config {
	out := *c
	out.Sources = slices.DeleteFunc(slices.Clone(c.Sources), func(s Source) bool { return !node.selectedBy(s.Nodes, s.NodeSelector) })
	out.Targets = slices.DeleteFunc(slices.Clone(c.Targets), func(t Target) bool { return !node.selectedBy(t.Nodes, t.NodeSelector) })
	if len(out.Sources) == len(c.Sources) && len(out.Targets) == len(c.Targets) {
		return c
	}
	out.doc, out.settled = nil, true // its places are no longer true
	out.warnings = slices.Clone(c.warnings)
	if len(out.Sources) == 0 && len(c.Sources) > 0 {
		out.warnings = append(out.warnings, c.problem("sources", "none is for this node (%s): nothing is read", cut(node.Name)))
	}
	if len(out.Targets) == 0 && len(c.Targets) > 0 {
		out.warnings = append(out.warnings, c.problem("targets", "none is for this node (%s): nothing is sent", cut(node.Name)))
	}
	return &out
}

// selectedBy reports whether an object that names nodes and labels is for the
// node: one of the names, if any are given, and all of the labels.
func (n Node) selectedBy(names []string, selector map[string]string) bool {
	for name, value := range selector {
		if have, ok := n.Labels[name]; !ok || have != value {
			return false
		}
	}
	return len(names) == 0 || slices.ContainsFunc(names, func(glob string) bool {
		ok, err := doublestar.Match(glob, n.Name)
		return ok && err == nil
	})
}
