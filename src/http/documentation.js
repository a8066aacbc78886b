/**
 * The script of the page /swagger: shows the API's document. Where that needs an API key it asks for one first, and keeps it in memory
 * alone: a page that is loaded anew asks anew.
 */
const form = document.querySelector("#ask");
const field = document.querySelector("#key");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void show(field.value.trim());
});
void show();

async function show(key) {
  const problem = await findProblem(key);
  if (problem === undefined) {
    form.remove();
    return open(key);
  }
  form.hidden = false;
  field.focus();
  document.querySelector("#problem").textContent = key === undefined ? "" : problem;
}

/** Why the document cannot be read with this key, if it is the key. */
async function findProblem(key) {
  try {
    const answer = await fetch("/swagger/json", { headers: toHeaders(key) });
    return answer.status === 401 ? (await answer.json()).detail : undefined;
  } catch (error) {
    return error.message;
  }
}

function open(key) {
  const ui = SwaggerUIBundle({
    url: "/swagger/json",
    dom_id: "#ui",
    validatorUrl: null,
    deepLinking: true,
    requestInterceptor(request) {
      // With a call it goes where the document says that it is needed: for a client's call it would be taken for a token.
      if (request.loadSpec) Object.assign(request.headers, toHeaders(key));
      return request;
    },
    onComplete() {
      if (key !== undefined) ui.preauthorizeApiKey("apiKey", key);
    },
  });
}

function toHeaders(key) {
  return key === undefined ? {} : { Authorization: `Bearer ${key}` };
}
