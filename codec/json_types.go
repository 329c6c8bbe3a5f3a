package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/topicbus/pubsub"
)

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// jsonTypes is what a codec found out about the types of its values. The zero
// value is ready for use.
type jsonTypes struct {
	first atomic.Pointer[jsonType] // of T
	all   sync.Map                 // of jsonPart to *jsonType
}

// jsonPart is a type and where its values are.
type jsonPart struct {
	reflect.Type
	// addressable: encoding/json calls methods that have a pointer for their
	// receiver.
	addressable bool
	// inAny: subscribers decode into an any, so what is written can be decoded.
	inAny bool
}

func (p jsonPart) elem() jsonPart {
	p.Type, p.addressable = p.Type.Elem(), p.elemAddressable()
	return p
}

func (p jsonPart) elemAddressable() bool {
	switch p.Kind() {
	case reflect.Pointer, reflect.Slice:
		return true
	case reflect.Map:
		return false
	default:
		return p.addressable
	}
}

func (p jsonPart) with(t reflect.Type) jsonPart {
	p.Type = t
	return p
}

// jsonType is what matters of a type.
type jsonType struct {
	jsonPart
	// err says why values of the type do not come back.
	err error
	// look: every value has to be looked at, because an interface or a map whose
	// keys marshal themselves is in it.
	look bool
	// text: strings are in it, or what marshals itself to text.
	text bool
	// fields are those of a struct that are written.
	fields []jsonTypeField
}

type jsonTypeField struct {
	jsonField
	// t is nil behind an embedded pointer, which may lead back to the struct.
	t *jsonType
}

// root returns what matters of T. It is always called with the same.
func (ts *jsonTypes) root(t reflect.Type, addressable bool) *jsonType {
	found := ts.first.Load()
	if found == nil {
		found = ts.of(jsonPart{t, addressable, false})
		ts.first.Store(found)
	}
	return found
}

func (ts *jsonTypes) of(p jsonPart) *jsonType {
	if found, ok := ts.all.Load(p); ok {
		return found.(*jsonType)
	}
	s := jsonScan{seen: make(map[jsonPart]bool)}
	err := s.visit(p)
	found := &jsonType{jsonPart: p, err: err, look: s.look, text: s.text}
	if p.Kind() == reflect.Struct {
		fields, _ := jsonFields(p) // if that fails, so did visit
		for _, f := range fields {
			field := jsonTypeField{jsonField: f}
			if !f.pointer {
				field.t = ts.of(f.jsonPart)
			}
			found.fields = append(found.fields, field)
		}
	}
	ts.all.Store(p, found)
	return found
}

// marshalsItself reports whether encoding/json leaves values to their methods.
func (p jsonPart) marshalsItself() bool {
	t := p.receiver()
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler)
}

// receiver is the type whose methods encoding/json looks at.
func (p jsonPart) receiver() reflect.Type {
	if p.addressable && p.Kind() != reflect.Pointer {
		return reflect.PointerTo(p.Type)
	}
	return p.Type
}

// jsonScan goes through all that a type is made of.
type jsonScan struct {
	seen       map[jsonPart]bool
	look, text bool // as in jsonType
}

// visit returns why values of p do not come back.
func (s *jsonScan) visit(p jsonPart) error {
	if s.seen[p] {
		return nil
	}
	s.seen[p] = true
	if p.Kind() == reflect.Interface {
		s.look, s.text = true, true
		if p.NumMethod() > 0 && !p.inAny {
			return neverBack("an interface other than any (%v) cannot be decoded", p.Type)
		}
		return nil
	}
	if p.marshalsItself() {
		s.text = true
		return nil
	}
	switch p.Kind() {
	case reflect.String:
		s.text = true
	case reflect.Func, reflect.Chan, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		if p.inAny {
			return nil // encoding/json has decided, by the value
		}
		return fmt.Errorf("%w: %w", pubsub.ErrInvalidArgument, &json.UnsupportedTypeError{Type: p.Type})
	case reflect.Pointer:
		return s.visit(p.elem())
	case reflect.Slice, reflect.Array:
		return at("[]", s.visit(p.elem()))
	case reflect.Map:
		if err := s.visitKey(p.with(p.Key())); err != nil {
			return err
		}
		return at("[]", s.visit(p.elem()))
	case reflect.Struct:
		return s.visitStruct(p)
	}
	return nil
}

func (s *jsonScan) visitKey(k jsonPart) error {
	s.text = true
	if !marshalsKey(k.Type) {
		switch k.Kind() {
		case reflect.String,
			reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
			return nil
		}
		return neverBack("a map key of type %v cannot be written", k.Type)
	}
	s.look = true // two keys may marshal to one text
	if !k.inAny && !reflect.PointerTo(k.Type).Implements(textUnmarshaler) {
		return neverBack("a map key of type %v has MarshalText and no UnmarshalText, so it cannot be decoded", k.Type)
	}
	return nil
}

// marshalsKey reports whether map keys of type t marshal themselves.
func marshalsKey(t reflect.Type) bool {
	return t.Kind() != reflect.String && t.Implements(textMarshaler)
}

func (s *jsonScan) visitStruct(p jsonPart) error {
	fields, err := jsonFields(p)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if f.hidden != "" && !p.inAny {
			return at(f.hidden, neverBack("an embedded pointer to a struct that is not exported (%v) cannot be decoded", f.hiddenType))
		}
		if err := s.visit(f.jsonPart); err != nil {
			return at(f.path, err)
		}
	}
	if len(fields) > 0 || p.Size() == 0 {
		return nil
	}
	if p.addressable = true; p.marshalsItself() {
		return neverBack("the methods of %v have a pointer for their receiver, which encoding/json cannot get here; use a pointer", p.Type)
	}
	return neverBack("no field of %v would be written: none is exported, and it has neither MarshalJSON nor MarshalText", p.Type)
}

func neverBack(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{pubsub.ErrInvalidArgument}, args...)...)
}

// jsonError is an error about a part of a value.
type jsonError struct {
	path string // in the manner of Go: .Items[3].Name
	err  error
}

func (e *jsonError) Error() string { return e.path + ": " + e.err.Error() }
func (e *jsonError) Unwrap() error { return e.err }

// at adds to the front of the path of err, if that is an error.
func at(step string, err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *jsonError:
		return &jsonError{step + e.path, e.err}
	default:
		return &jsonError{step, err}
	}
}
