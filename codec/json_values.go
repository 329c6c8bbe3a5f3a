package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/topicbus/pubsub"
)

// jsonWalk goes through a value that encoding/json has written, and finds what
// subscribers would not get back: values in an any of a type that is not
// written, two map keys that are written alike and, if strings is set, strings
// that are not UTF-8.
type jsonWalk struct {
	types   *jsonTypes
	strings bool
}

// all looks at what encoding/json was given: a T, or a pointer to one. Whether
// a T can be decoded was seen to before, so here all is as in an any.
func (w jsonWalk) all(target any, byAddress bool) error {
	if !byAddress {
		return w.any(target)
	}
	v := reflect.ValueOf(target).Elem()
	return w.value(v, w.types.of(jsonPart{v.Type(), true, true}))
}

// skips reports that there is nothing to find in any value of t.
func (w jsonWalk) skips(t *jsonType) bool {
	return t.err == nil && !t.look && !(w.strings && t.text)
}

// value looks at v, and at what is in it as far as there is something to find.
func (w jsonWalk) value(v reflect.Value, t *jsonType) error {
	switch {
	case t.err != nil:
		return t.err
	case w.skips(t):
		return nil
	case t.Kind() == reflect.Interface:
		return w.any(v.Interface())
	case t.marshalsItself() && v.CanInterface():
		return w.marshaled(v, t.jsonPart)
	}
	switch t.Kind() {
	case reflect.String:
		return w.text(v.String())
	case reflect.Pointer:
		if !v.IsNil() {
			return w.value(v.Elem(), w.types.of(t.elem()))
		}
	case reflect.Slice, reflect.Array:
		elem := w.types.of(t.elem())
		for i := range v.Len() {
			if err := w.value(v.Index(i), elem); err != nil {
				return at("["+strconv.Itoa(i)+"]", err)
			}
		}
	case reflect.Map:
		return w.mapValue(v, t.jsonPart)
	case reflect.Struct:
		return w.structValue(v, t)
	}
	return nil
}

func (w jsonWalk) structValue(v reflect.Value, t *jsonType) error {
	for _, f := range t.fields {
		part, err := v.FieldByIndexErr(f.index)
		if err != nil {
			continue // of an embedded pointer that is nil
		}
		of := f.t
		if of == nil {
			of = w.types.of(f.jsonPart)
		}
		if err := w.value(part, of); err != nil {
			return at(f.path, err)
		}
	}
	return nil
}

func (w jsonWalk) mapValue(m reflect.Value, p jsonPart) error {
	marshals, elem := marshalsKey(p.Key()), w.types.of(p.elem())
	if !marshals && !w.strings && w.skips(elem) {
		return nil
	}
	var written map[string]bool
	if marshals {
		written = make(map[string]bool, m.Len())
	}
	for i := m.MapRange(); i.Next(); {
		if marshals {
			key, err := keyText(i.Key())
			if err != nil {
				return err
			}
			if written[key] {
				return fmt.Errorf("%w: two keys of the map are written as %.50q, so one would be lost", pubsub.ErrInvalidArgument, key)
			}
			written[key] = true
		}
		if w.strings {
			if err := w.key(i.Key()); err != nil {
				return err
			}
		}
		if err := w.value(i.Value(), elem); err != nil {
			key, _ := keyText(i.Key())
			return at("["+strconv.Quote(key)+"]", err)
		}
	}
	return nil
}

func (w jsonWalk) key(k reflect.Value) error {
	key, err := keyText(k)
	if err == nil && !utf8.ValidString(key) {
		return fmt.Errorf("%w: a map key is not valid UTF-8: %.50q", pubsub.ErrInvalidPayload, key)
	}
	return err
}

// keyText is what encoding/json writes for a map key.
func keyText(k reflect.Value) (string, error) {
	switch {
	case k.Kind() == reflect.String:
		return k.String(), nil
	case !marshalsKey(k.Type()):
		return fmt.Sprint(k), nil
	case k.Kind() == reflect.Pointer && k.IsNil():
		return "", nil
	}
	text, err := k.Interface().(encoding.TextMarshaler).MarshalText()
	return string(text), err
}

// any is value, for what is in an interface, and fast for what usually is.
func (w jsonWalk) any(x any) error {
	switch x := x.(type) {
	case nil, bool, float64, int, int64, json.Number:
		return nil
	case string:
		return w.text(x)
	case []any:
		for i, e := range x {
			if err := w.any(e); err != nil {
				return at("["+strconv.Itoa(i)+"]", err)
			}
		}
		return nil
	case map[string]any:
		for k, e := range x {
			if w.strings {
				if err := w.key(reflect.ValueOf(k)); err != nil {
					return err
				}
			}
			if err := w.any(e); err != nil {
				return at("["+strconv.Quote(k)+"]", err)
			}
		}
		return nil
	default:
		return w.value(reflect.ValueOf(x), w.types.of(jsonPart{reflect.TypeOf(x), false, true}))
	}
}

// marshaled checks the text that v marshals itself to. What MarshalJSON returns
// is written as it is.
func (w jsonWalk) marshaled(v reflect.Value, p jsonPart) error {
	if !w.strings || p.receiver().Implements(jsonMarshaler) {
		return nil
	}
	if p.receiver() != p.Type {
		v = v.Addr()
	}
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return err
	}
	return w.text(string(text))
}

func (w jsonWalk) text(s string) error {
	if !w.strings || utf8.ValidString(s) {
		return nil
	}
	return fmt.Errorf("%w: a string is not valid UTF-8; a []byte may be anything", pubsub.ErrInvalidPayload)
}
