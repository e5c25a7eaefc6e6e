package config

import (
	"fmt"
	"regexp"

	"github.com/bmatcuk/doublestar/v4"
)

// Limits of what is said of nodes, as Kubernetes has them.
const (
	maxNodeName       = 253 // bytes
	maxNodeLabelName  = 317 // bytes: a prefix of 253, a slash, and 63
	maxNodeLabelValue = 63  // bytes
)

var (
	validNodeName       = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	validNodeLabelName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$`)
	validNodeLabelValue = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$`)
)

// nodes checks which nodes an object is for.
func (k *checker) nodes(object path, names []string, selector map[string]string) {
	p := object.dot("nodes")
	k.plainList(p, "name", names, maxNodeName)
	for i, name := range names {
		k.failIf(name != "" && !doublestar.ValidatePattern(name), p.index(i), "%q is no valid pattern: a [, { or \\ is left open", cut(name))
	}
	p = object.dot("nodeSelector")
	for _, name := range sortedKeys(selector) {
		if err := checkNodeLabel(name, selector[name]); err != nil {
			k.fail(p.dot(stepName(name)), "%v", err)
		}
	}
}

// Check says what is wrong with a node's name or labels: the name is that of a
// host, labels are as in Kubernetes.
func (n Node) Check() error {
	if len(n.Name) > maxNodeName || !validNodeName.MatchString(n.Name) {
		return fmt.Errorf("node name %q must be at most %d letters, digits, \".\", \"_\" and \"-\", and begin and end with a letter or digit", cut(n.Name), maxNodeName)
	}
	for _, name := range sortedKeys(n.Labels) {
		if err := checkNodeLabel(name, n.Labels[name]); err != nil {
			return fmt.Errorf("node label %q: %w", cut(name), err)
		}
	}
	return nil
}

func checkNodeLabel(name, value string) error {
	switch {
	case len(name) > maxNodeLabelName || !validNodeLabelName.MatchString(name):
		return fmt.Errorf("label name %q must be at most %d letters, digits, \".\", \"_\", \"-\" and \"/\", and begin and end with a letter or digit", cut(name), maxNodeLabelName)
	case len(value) > maxNodeLabelValue || !validNodeLabelValue.MatchString(value):
		return fmt.Errorf("value %q must be at most %d letters, digits, \".\", \"_\" and \"-\", and begin and end with a letter or digit", cut(value), maxNodeLabelValue)
	}
	return nil
}

// service checks one service.
func (k *checker) service(p path, s *Service) {
	if s.LogFormat == "" {
		k.fail(p.dot("logFormat"), "is missing")
		return
	}
	k.logFormat(p.dot("logFormat"), s.LogFormat)
}
