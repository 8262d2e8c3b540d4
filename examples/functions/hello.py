def handle(context, payload):
    print(f"greeting {payload['name']}")
    return {"greeting": f"Hello, {payload['name']} from {payload['place']}"}
