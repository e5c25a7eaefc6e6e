package config

import (
	"errors"
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Secrets walks the secrets of given (Draft.Given) and puts in their place what
// swap makes of them; path is such as loki.basicAuth.password. A store seals with it.
// What it returns is given itself but for them. Errors hold no secret but what
// swap says.
func Secrets(kind Kind, given []byte, swap func(path, value string) (string, error)) ([]byte, error) {
	if kind.Title() == "" {
		return nil, fmt.Errorf("looking for secrets: unknown kind %q", cut(string(kind)))
	}
	docs, err := parseJSON(given)
	if err != nil || len(docs) != 1 || docs[0].Kind != yaml.MappingNode {
		return nil, errors.New("looking for secrets: the object is not valid JSON")
	}
	if err := swapSecrets("", docs[0], typeOf(kind), swap); err != nil {
		return nil, err
	}
	return nodeJSON(docs[0])
}

func swapSecrets(p path, n *yaml.Node, t reflect.Type, swap func(path, value string) (string, error)) error {
	fields := fieldsOf(t)
	for i := 0; i+1 < len(n.Content); i += 2 {
		value, place := n.Content[i+1], p.dot(n.Content[i].Value)
		number, known := fields[n.Content[i].Value]
		if !known {
			continue
		}
		field := t.Field(number).Type
		if field.Kind() == reflect.Pointer && field.Elem().Kind() == reflect.Struct && value.Kind == yaml.MappingNode {
			if err := swapSecrets(place, value, field.Elem(), swap); err != nil {
				return err
			}
		}
		if field != reflect.TypeFor[Secret]() || value.Kind != yaml.ScalarNode || value.Value == "" || isNull(value) {
			continue
		}
		swapped, err := swap(string(place), value.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		value.Tag, value.Value = "!!str", swapped
	}
	return nil
}
