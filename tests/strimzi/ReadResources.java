import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.introspect.Annotated;
import com.fasterxml.jackson.databind.introspect.JacksonAnnotationIntrospector;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import io.strimzi.api.kafka.model.kafka.KafkaClusterSpec;
import io.strimzi.crdgenerator.annotations.RequiredInVersions;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * Reads Kubernetes resources, documents of YAML, from standard input into the classes of Strimzi and
 * of fabric8. Prints a line for each field that a class does not have, each that is required and
 * missing, and each setting of a broker that Strimzi does not take; then how many it has read.
 */
public final class ReadResources {
    private static final String[] PACKAGES = {
        "io.strimzi.api.kafka.model.kafka.",
        "io.strimzi.api.kafka.model.nodepool.",
        "io.strimzi.api.kafka.model.topic.",
        "io.strimzi.api.kafka.model.user.",
        "io.fabric8.kubernetes.api.model.",
        "io.fabric8.kubernetes.api.model.apps.",
        "io.fabric8.kubernetes.api.model.networking.v1.",
    };

    /** Their classes keep unknown fields in a map; without it the mapper refuses them. */
    private static final class NoUnknownFields extends JacksonAnnotationIntrospector {
        @Override
        public Boolean hasAnySetter(Annotated member) {
            return false;
        }
    }

    public static void main(String[] arguments) throws Exception {
        ObjectMapper mapper = new ObjectMapper(new YAMLFactory());
        mapper.setAnnotationIntrospector(new NoUnknownFields());
        mapper.enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);
        mapper.enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY);
        int read = 0;
        for (JsonNode each : mapper.readerFor(JsonNode.class).<JsonNode>readValues(System.in).readAll()) {
            String kind = each.path("kind").asText();
            String what = kind + " " + each.path("metadata").path("name").asText();
            try {
                Object resource = mapper.treeToValue(each, classOf(kind));
                for (String problem : problems(resource, kind)) {
                    System.out.println(what + ": " + problem);
                }
                read++;
            } catch (com.fasterxml.jackson.core.JsonProcessingException why) {
                System.out.println(what + ": " + why.getMessage().replace('\n', ' '));
            }
        }
        System.out.println("read " + read);
    }

    private static Class<?> classOf(String kind) throws ClassNotFoundException {
        for (String name : PACKAGES) {
            try {
                return Class.forName(name + kind);
            } catch (ClassNotFoundException elsewhere) {
                continue;
            }
        }
        throw new ClassNotFoundException(kind);
    }

    private static List<String> problems(Object found, String at) throws Exception {
        List<String> problems = new ArrayList<>();
        if (found instanceof KafkaClusterSpec kafka && kafka.getConfig() != null) {
            for (String name : kafka.getConfig().keySet()) {
                if (begins(name, KafkaClusterSpec.FORBIDDEN_PREFIXES)
                        && !begins(name, KafkaClusterSpec.FORBIDDEN_PREFIX_EXCEPTIONS)) {
                    problems.add("Strimzi does not take " + at + "." + name);
                }
            }
        }
        if (found instanceof Collection<?> several) {
            for (Object each : several) {
                problems.addAll(problems(each, at + "[]"));
            }
        }
        if (found == null || !found.getClass().getName().startsWith("io.strimzi.api.")
                || found instanceof Enum) {
            return problems;
        }
        for (Method getter : found.getClass().getMethods()) {
            if (!getter.getName().startsWith("get") || getter.getParameterCount() > 0
                    || getter.isBridge() || Map.class.isAssignableFrom(getter.getReturnType())) {
                continue;
            }
            Object value = getter.invoke(found);
            String place = at + "." + getter.getName().substring(3);
            JsonProperty property = getter.getAnnotation(JsonProperty.class);
            boolean isRequired = getter.isAnnotationPresent(RequiredInVersions.class)
                    || property != null && property.required();
            if (isRequired && value == null) {
                problems.add(place + " is required");
            }
            if (value != null) {
                problems.addAll(problems(value, place));
            }
        }
        return problems;
    }

    private static boolean begins(String name, String prefixes) {
        return Arrays.stream(prefixes.split(", ")).anyMatch(name::startsWith);
    }
}
