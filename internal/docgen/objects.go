package main

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
)

// object is a struct of the configuration as its source code tells of it.
type object struct {
	name    string
	text    string // the doc comment without its example
	example string // the code block of the doc comment
	fields  []field
}

// field is one field of an object.
type field struct {
	name     string // in files
	typ      string // as Go writes it: []Source
	text     string
	def      string
	min, max string
	required bool
}

// readObjects reads the structs of a Go file, in their order. Fields without a
// json tag are not for files. What has no doc comment is an error.
func readObjects(file string) ([]object, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var objects []object
	for _, d := range tree.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.TYPE {
			continue
		}
		spec, ok := decl.Specs[0].(*ast.TypeSpec)
		if !ok {
			continue
		}
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		o := object{name: spec.Name.Name}
		o.text, o.example = splitDoc(decl.Doc.Text())
		if o.text == "" || o.example == "" {
			return nil, fmt.Errorf("%s needs a doc comment with an example (an indented block)", o.name)
		}
		if o.fields, err = readFields(structure); err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// splitDoc takes the code block out of a doc comment.
func splitDoc(text string) (prose, example string) {
	var paragraphs []string
	var p comment.Parser
	for _, block := range p.Parse(text).Content {
		if code, ok := block.(*comment.Code); ok {
			example += code.Text
			continue
		}
		var printer comment.Printer
		paragraph := string(printer.Text(&comment.Doc{Content: []comment.Block{block}}))
		paragraphs = append(paragraphs, strings.Join(strings.Fields(paragraph), " "))
	}
	return strings.Join(paragraphs, "\n\n"), example
}

func readFields(s *ast.StructType) ([]field, error) {
	var fields []field
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		unquoted, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			return nil, err
		}
		tag := reflect.StructTag(unquoted)
		name, options, _ := strings.Cut(tag.Get("json"), ",")
		text := strings.Join(strings.Fields(f.Doc.Text()), " ")
		if name == "" || text == "" {
			return nil, fmt.Errorf("field %s needs a json name and a doc comment", f.Names)
		}
		fields = append(fields, field{
			name: name, typ: typeText(f.Type), text: text,
			def: tag.Get("default"), min: tag.Get("min"), max: tag.Get("max"),
			required: !strings.Contains(options, "omitempty"),
		})
	}
	return fields, nil
}

// typeText writes a type without the pointer, which only tells a default apart.
func typeText(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return typeText(t.X)
	case *ast.ArrayType:
		return "[]" + typeText(t.Elt)
	case *ast.MapType:
		return "map[" + typeText(t.Key) + "]" + typeText(t.Value)
	case *ast.SelectorExpr:
		return typeText(t.X) + "." + t.Sel.Name
	}
	return fmt.Sprintf("%T", e)
}
